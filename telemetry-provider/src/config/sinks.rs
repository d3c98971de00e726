//! Reads the chosen sinks and their options.

use telemetry_core::{Entry, Key, KeyKind, Location, OptionValue, Options, Registry, SinkEntry};

use crate::builtin::absent_sink;
use crate::problem::{nearest, suggestion};
use crate::value_reader::{ValueReader, join};
use crate::yaml::{Node, Value};

/// The sinks that are chosen by default.
const DEFAULT_SINKS: &[&str] = &["console", "sqlite"];
/// Llama Stack's older name for two sinks.
const OTEL: &str = "otel";
/// The variable that names the sinks if the file does not.
const VARIABLE: &str = "TELEMETRY_SINKS";

const KEY: Key = Key {
    name: "sinks",
    kind: KeyKind::List,
    flat: None,
    default: None,
    help: "the sinks to start, a list or one text with commas",
};

/// A sink that the configuration chose.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkChoice {
    /// The sink.
    pub entry: &'static SinkEntry,
    /// Its options. Each comes from the file, else from the environment, else from the default.
    pub options: Options,
}

/// Returns the chosen sinks with their options. Also checks the options of sinks that are not chosen.
pub(super) fn choose(
    registry: &Registry,
    config: &Node,
    path: &str,
    reader: &mut ValueReader<'_>,
) -> Vec<SinkChoice> {
    let mut choices = Vec::new();
    let chosen = chosen_entries(registry, config, path, reader);
    for entry in registry.entries().filter(|entry| !chosen.iter().any(|other| other.name == entry.name)) {
        let _ = configured_options(entry, config, path, reader);
    }
    for entry in chosen {
        let mut options = configured_options(entry, config, path, reader);
        reader.add_defaults(entry.name, &mut options, entry.keys);
        choices.push(SinkChoice { entry, options: Options::new(options) });
    }
    choices
}

/// Returns true if the file's `sinks` contains this name. A map of that name is then not an unknown key.
pub(super) fn is_chosen_by_name(name: &str, config: &Node) -> bool {
    let is_name = |text: &str| text.split(',').any(|item| item.trim() == name);
    match config.get("sinks").map(|node| &node.value) {
        Some(Value::List(items)) => {
            items.iter().any(|item| matches!(&item.value, Value::Text(text) if is_name(text)))
        }
        Some(Value::Text(text)) => is_name(text),
        Some(_) | None => false,
    }
}

/// Reads the options that the file sets for a sink: those of the sink's own map, else the flat keys.
fn configured_options(
    entry: &SinkEntry,
    config: &Node,
    path: &str,
    reader: &mut ValueReader<'_>,
) -> Vec<(String, Entry)> {
    let mut options = match config.get(entry.name) {
        Some(map) => reader.options(map, &join(path, entry.name), entry.keys),
        None => Vec::new(),
    };
    for key in entry.keys {
        let Some(flat) = key.flat else { continue };
        let Some(node) = config.get(flat) else { continue };
        // Read even if the map has the key, so that its problems are reported.
        let value = reader.value(node, &join(path, flat), key);
        if !options.iter().any(|(name, _)| name == key.name) {
            options.extend(value.map(|value| (key.name.to_owned(), value)));
        }
    }
    options
}

/// Returns the sinks that the file names, else those of the environment, else those of the defaults that
/// this build has.
fn chosen_entries(
    registry: &Registry,
    config: &Node,
    path: &str,
    reader: &mut ValueReader<'_>,
) -> Vec<&'static SinkEntry> {
    let problems_before = reader.problems.len();
    let named = config.get("sinks").and_then(|node| reader.value(node, &join(path, "sinks"), &KEY));
    if reader.problems.len() > problems_before {
        return Vec::new();
    }
    let named = named.or_else(|| reader.variable(VARIABLE));
    let Some(named) = named else { return default_entries(registry, reader) };
    let mut chosen: Vec<&'static SinkEntry> = Vec::new();
    for (name, location) in names(named) {
        let both = ["otel_trace", "otel_metric"];
        let one = [name.as_str()];
        let resolved: &[&str] = if name == OTEL && registry.get(OTEL).is_none() {
            reader.warnings.push(format!("sink name `{OTEL}` is deprecated; write `{}`", both.join(",")));
            &both
        } else {
            &one
        };
        for name in resolved {
            match registry.get(name) {
                Some(entry) if chosen.iter().any(|other| other.name == entry.name) => {
                    reader.warnings.push(format!("`sinks` contains `{name}` twice; it is started once"));
                }
                Some(entry) => chosen.push(entry),
                None => reader.add_problem(location.clone(), unknown_sink(name, registry)),
            }
        }
    }
    if chosen.is_empty() && reader.problems.len() == problems_before {
        reader.warnings.push("no sink is chosen; nothing is recorded".to_owned());
    }
    chosen
}

fn default_entries(registry: &Registry, reader: &mut ValueReader<'_>) -> Vec<&'static SinkEntry> {
    let mut chosen = Vec::new();
    let mut missing = Vec::new();
    for name in DEFAULT_SINKS {
        match registry.get(name) {
            Some(entry) => chosen.push(entry),
            None => missing.push(*name),
        }
    }
    if chosen.is_empty() {
        let all = DEFAULT_SINKS.join(",");
        let message = format!(
            "none of the default sinks {all} is in this build; set `sinks` or ${VARIABLE}{}",
            suggestion("", registry.names()),
        );
        reader.add_problem(Location { path: KEY.name.to_owned(), ..Location::default() }, message);
    } else if !missing.is_empty() {
        let missing = missing.join("`, `");
        reader.warnings.push(format!("default sink `{missing}` is not in this build and is not started"));
    }
    chosen
}

/// Returns the names in a list or in a text with commas, and the place of each.
fn names(entry: Entry) -> Vec<(String, Location)> {
    match entry.value {
        OptionValue::List(items) => items.into_iter().flat_map(names).collect(),
        OptionValue::Text(text) => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| (name.to_owned(), entry.location.clone())).collect()
        }
        // The check of the key's kind admits only lists of texts.
        _ => Vec::new(),
    }
}

/// Returns the message for a name that no linked sink has.
fn unknown_sink(name: &str, registry: &Registry) -> String {
    if let Some(absent) = absent_sink(name) {
        return format!(
            "sink `{name}` is not in this build; enable the `{}` feature of telemetry-provider",
            absent.feature
        );
    }
    let linked: Vec<&str> = registry.names().collect();
    if let Some(nearest) = nearest(name, linked.iter().copied()) {
        let linked = linked.join(", ");
        return format!("no sink named `{name}` is linked (linked: {linked}); did you mean `{nearest}`?");
    }
    let linked = if linked.is_empty() { "none".to_owned() } else { linked.join(", ") };
    format!(
        "no sink named `{name}` is linked (linked: {linked}); if it comes from a crate in Cargo.toml, the program must \
         link that crate: `telemetry_provider::link_sinks!(that_crate);`"
    )
}
