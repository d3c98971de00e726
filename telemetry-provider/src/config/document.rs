//! Finds the telemetry provider in a document.

use telemetry_core::Key;

use crate::value_reader::{ValueReader, join};
use crate::yaml::{Node, Value};

/// The only supported type of provider.
const PROVIDER_TYPE: &str = "inline::meta-reference";
/// A provider with this id is skipped, as is one with an empty id.
const DISABLED: &str = "__disabled__";
/// Keys of a provider. `module` is for Llama Stack: the Python module that implements the provider.
const PROVIDER_KEYS: [&str; 4] = ["provider_id", "provider_type", "config", "module"];

/// The sections of a document that this crate reads.
pub(crate) struct Sections<'a> {
    pub provider: ProviderSection<'a>,
    /// The top-level map `server:`, unless it is Llama Stack's.
    pub server: Option<&'a Node>,
}

/// The section of the telemetry provider.
pub(crate) enum ProviderSection<'a> {
    /// One provider is enabled and has this configuration.
    Config { node: &'a Node, path: String },
    /// The document does not configure the provider, so the defaults apply.
    Defaults,
    /// No provider is enabled.
    Disabled,
    /// Problems were added.
    Invalid,
}

/// Finds the sections in a whole `run.yaml` of Llama Stack or in a document of our own.
pub(crate) fn find_sections<'a>(
    root: &'a Node,
    server_keys: Option<&[Key]>,
    reader: &mut ValueReader<'_>,
) -> Sections<'a> {
    let entries = match &root.value {
        Value::Null => return Sections { provider: ProviderSection::Defaults, server: None },
        Value::Map(entries) => entries,
        other => {
            let message = format!("expected a map with the list `telemetry`, found {}", other.type_name());
            reader.add_problem_at("", root.position, message);
            return Sections { provider: ProviderSection::Invalid, server: None };
        }
    };
    if let Some(providers) = root.get("providers") {
        warn_of_server(root, server_keys, reader);
        return Sections { provider: in_run_yaml(root, providers, reader), server: None };
    }
    for (name, _) in entries {
        // YAML files keep their anchors under `x-…`.
        if !["telemetry", "server"].contains(&name.text.as_str()) && !name.text.starts_with("x-") {
            let known = ["telemetry", "server", "providers"];
            reader.add_unknown_key(&name.text, name.position, &name.text, known);
        }
    }
    let provider = match root.get("telemetry") {
        Some(list) => in_list(list, "telemetry", reader),
        None => ProviderSection::Defaults,
    };
    Sections { provider, server: root.get("server") }
}

fn in_run_yaml<'a>(root: &'a Node, providers: &'a Node, reader: &mut ValueReader<'_>) -> ProviderSection<'a> {
    // Newer versions of Llama Stack have a top-level map of this name, which does not contain providers.
    let top_level = root.get("telemetry").filter(|node| matches!(node.value, Value::List(_)));
    match (providers.get("telemetry"), top_level) {
        (Some(list), None) => in_list(list, "providers.telemetry", reader),
        (None, Some(list)) => in_list(list, "telemetry", reader),
        (Some(_), Some(list)) => {
            let message = "`providers.telemetry` has providers too; remove one of the two lists";
            reader.add_problem_at("telemetry", list.position, message);
            ProviderSection::Invalid
        }
        (None, None) => {
            let message = "the list `providers.telemetry` is missing";
            reader.add_problem_at("providers", providers.position, message);
            ProviderSection::Invalid
        }
    }
}

/// Warns if `server:` has keys of the telemetry server: beside `providers:` it is Llama Stack's own.
fn warn_of_server(root: &Node, server_keys: Option<&[Key]>, reader: &mut ValueReader<'_>) {
    let (Some(server), Some(keys)) = (root.get("server"), server_keys) else { return };
    if keys.iter().any(|key| server.get(key.name).is_some()) {
        reader.warnings.push(
            "`server` in a run.yaml configures Llama Stack and is not read; configure the telemetry server in a \
             file without `providers`"
                .to_owned(),
        );
    }
}

fn in_list<'a>(list: &'a Node, path: &str, reader: &mut ValueReader<'_>) -> ProviderSection<'a> {
    let providers = match &list.value {
        Value::Null => return ProviderSection::Disabled,
        Value::List(providers) => providers,
        other => {
            let message = format!("expected a list of providers, found {}", other.type_name());
            reader.add_problem_at(path, list.position, message);
            return ProviderSection::Invalid;
        }
    };
    let problems_before = reader.problems.len();
    let mut enabled: Vec<(String, &Node, String)> = Vec::new();
    for (index, provider) in providers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(id) = enabled_id(provider, &path, reader) {
            check_provider(provider, &path, reader);
            enabled.push((id, provider, path));
        }
    }
    if let [(first, ..), (second, provider, path), ..] = enabled.as_slice() {
        let message = format!(
            "only one telemetry provider may be enabled, found `{first}` and `{second}`; disable one with \
             `provider_id: {DISABLED}`"
        );
        reader.add_problem_at(path, provider.position, message);
    }
    if reader.problems.len() > problems_before && enabled.len() != 1 {
        return ProviderSection::Invalid;
    }
    match enabled.pop() {
        None => ProviderSection::Disabled,
        Some((_, provider, path)) => match provider.get("config") {
            Some(config) => ProviderSection::Config { node: config, path: join(&path, "config") },
            None => ProviderSection::Defaults,
        },
    }
}

/// Reads the id of a provider. Returns `None` if the provider is disabled or invalid.
fn enabled_id(provider: &Node, path: &str, reader: &mut ValueReader<'_>) -> Option<String> {
    if !matches!(provider.value, Value::Map(_)) {
        let message = format!(
            "expected a map with `provider_id` and `provider_type`, found {}",
            provider.value.type_name()
        );
        reader.add_problem_at(path, provider.position, message);
        return None;
    }
    let Some(id) = provider.get("provider_id") else {
        reader.add_problem_at(path, provider.position, "`provider_id` is missing");
        return None;
    };
    let id = reader.text(id, &join(path, "provider_id"))?;
    (id != DISABLED && !id.trim().is_empty()).then_some(id)
}

fn check_provider(provider: &Node, path: &str, reader: &mut ValueReader<'_>) {
    let Value::Map(entries) = &provider.value else { return };
    for (name, _) in entries {
        if !PROVIDER_KEYS.contains(&name.text.as_str()) {
            reader.add_unknown_key(&join(path, &name.text), name.position, &name.text, PROVIDER_KEYS);
        }
    }
    let Some(node) = provider.get("provider_type") else {
        let message = format!("`provider_type` is missing; set `{PROVIDER_TYPE}`");
        reader.add_problem_at(path, provider.position, message);
        return;
    };
    let path = join(path, "provider_type");
    let problems_before = reader.problems.len();
    match reader.text(node, &path) {
        Some(found) if found == PROVIDER_TYPE => {}
        Some(found) => {
            let message = format!("`{found}` is not supported; set `{PROVIDER_TYPE}`");
            reader.add_problem_at(&path, node.position, message);
        }
        None if reader.problems.len() == problems_before => {
            reader.add_problem_at(
                &path,
                node.position,
                format!("`provider_type` is empty; set `{PROVIDER_TYPE}`"),
            );
        }
        None => {}
    }
}
