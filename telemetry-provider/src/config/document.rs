//! Where in a document the telemetry provider is.

use telemetry_core::Key;

use crate::resolver::{Resolver, join};
use crate::yaml::{Node, Value};

/// The one kind of provider there is.
const PROVIDER_TYPE: &str = "inline::meta-reference";
/// A provider of this id is skipped; so is one whose id is empty.
const DISABLED: &str = "__disabled__";
/// Keys of a provider. `module` says which Python module implements it, to Llama Stack.
const PROVIDER_KEYS: [&str; 4] = ["provider_id", "provider_type", "config", "module"];

/// The parts of a document that concern us.
pub(crate) struct Found<'a> {
    pub telemetry: Telemetry<'a>,
    /// The top-level map `server:`, unless that is Llama Stack's.
    pub server: Option<&'a Node>,
}

/// What a document says of the provider.
pub(crate) enum Telemetry<'a> {
    /// This is its configuration.
    Provider { config: &'a Node, path: String },
    /// Nothing.
    Defaults,
    /// There is none, or all are disabled.
    Off,
    /// Problems were noted.
    Unclear,
}

/// Finds the list of providers in a whole `run.yaml` or in a document of our own.
pub(crate) fn find<'a>(
    root: &'a Node,
    server_keys: Option<&[Key]>,
    resolver: &mut Resolver<'_>,
) -> Found<'a> {
    let entries = match &root.value {
        Value::Null => return Found { telemetry: Telemetry::Defaults, server: None },
        Value::Map(entries) => entries,
        other => {
            let message = format!("expected a map with the list `telemetry`, found {}", other.type_name());
            resolver.problem("", root.position, message);
            return Found { telemetry: Telemetry::Unclear, server: None };
        }
    };
    if let Some(providers) = root.get("providers") {
        warn_of_server(root, server_keys, resolver);
        return Found { telemetry: in_run_yaml(root, providers, resolver), server: None };
    }
    for (name, _) in entries {
        // `x-…` is where YAML files keep their anchors.
        if !["telemetry", "server"].contains(&name.text.as_str()) && !name.text.starts_with("x-") {
            let known = ["telemetry", "server", "providers"];
            resolver.unknown(&name.text, name.position, &name.text, known);
        }
    }
    let telemetry = match root.get("telemetry") {
        Some(list) => in_list(list, "telemetry", resolver),
        None => Telemetry::Defaults,
    };
    Found { telemetry, server: root.get("server") }
}

fn in_run_yaml<'a>(root: &'a Node, providers: &'a Node, resolver: &mut Resolver<'_>) -> Telemetry<'a> {
    // Newer versions of Llama Stack have a top-level map of this name, which says nothing of providers.
    let top_level = root.get("telemetry").filter(|node| matches!(node.value, Value::List(_)));
    match (providers.get("telemetry"), top_level) {
        (Some(list), None) => in_list(list, "providers.telemetry", resolver),
        (None, Some(list)) => in_list(list, "telemetry", resolver),
        (Some(_), Some(list)) => {
            let message = "there is also `providers.telemetry`; keep one of the two";
            resolver.problem("telemetry", list.position, message);
            Telemetry::Unclear
        }
        (None, None) => {
            let message = "there is no telemetry provider; add the list `providers.telemetry`";
            resolver.problem("providers", providers.position, message);
            Telemetry::Unclear
        }
    }
}

/// A `server:` beside `providers:` configures Llama Stack's own server.
fn warn_of_server(root: &Node, server_keys: Option<&[Key]>, resolver: &mut Resolver<'_>) {
    let (Some(server), Some(keys)) = (root.get("server"), server_keys) else { return };
    if keys.iter().any(|key| server.get(key.name).is_some()) {
        resolver.warnings.push(
            "`server` of a run.yaml is Llama Stack's own and not read; give the telemetry server's in a \
             file without `providers`"
                .to_owned(),
        );
    }
}

fn in_list<'a>(list: &'a Node, path: &str, resolver: &mut Resolver<'_>) -> Telemetry<'a> {
    let providers = match &list.value {
        Value::Null => return Telemetry::Off,
        Value::List(providers) => providers,
        other => {
            let message = format!("expected a list of providers, found {}", other.type_name());
            resolver.problem(path, list.position, message);
            return Telemetry::Unclear;
        }
    };
    let problems_before = resolver.problems.len();
    let mut enabled: Vec<(String, &Node, String)> = Vec::new();
    for (index, provider) in providers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(id) = enabled_id(provider, &path, resolver) {
            check_provider(provider, &path, resolver);
            enabled.push((id, provider, path));
        }
    }
    if let [(first, ..), (second, provider, path), ..] = enabled.as_slice() {
        let message = format!(
            "only one telemetry provider may be enabled, here are `{first}` and `{second}`; disable one with \
             `provider_id: {DISABLED}`"
        );
        resolver.problem(path, provider.position, message);
    }
    if resolver.problems.len() > problems_before && enabled.len() != 1 {
        return Telemetry::Unclear;
    }
    match enabled.pop() {
        None => Telemetry::Off,
        Some((_, provider, path)) => match provider.get("config") {
            Some(config) => Telemetry::Provider { config, path: join(&path, "config") },
            None => Telemetry::Defaults,
        },
    }
}

/// The id of a provider; `None` when it is disabled or wrong.
fn enabled_id(provider: &Node, path: &str, resolver: &mut Resolver<'_>) -> Option<String> {
    if !matches!(provider.value, Value::Map(_)) {
        let message = format!("expected a provider, a map, found {}", provider.value.type_name());
        resolver.problem(path, provider.position, message);
        return None;
    }
    let Some(id) = provider.get("provider_id") else {
        resolver.problem(path, provider.position, "`provider_id` is missing");
        return None;
    };
    let id = resolver.text(id, &join(path, "provider_id"))?;
    (id != DISABLED && !id.trim().is_empty()).then_some(id)
}

fn check_provider(provider: &Node, path: &str, resolver: &mut Resolver<'_>) {
    let Value::Map(entries) = &provider.value else { return };
    for (name, _) in entries {
        if !PROVIDER_KEYS.contains(&name.text.as_str()) {
            resolver.unknown(&join(path, &name.text), name.position, &name.text, PROVIDER_KEYS);
        }
    }
    let Some(node) = provider.get("provider_type") else {
        let message = format!("`provider_type` is missing; it is `{PROVIDER_TYPE}`");
        resolver.problem(path, provider.position, message);
        return;
    };
    let path = join(path, "provider_type");
    let problems_before = resolver.problems.len();
    match resolver.text(node, &path) {
        Some(found) if found == PROVIDER_TYPE => {}
        Some(found) => {
            let message = format!("`{found}` is not supported; the only type is `{PROVIDER_TYPE}`");
            resolver.problem(&path, node.position, message);
        }
        None if resolver.problems.len() == problems_before => {
            resolver.problem(
                &path,
                node.position,
                format!("it is empty; the only type is `{PROVIDER_TYPE}`"),
            );
        }
        None => {}
    }
}
