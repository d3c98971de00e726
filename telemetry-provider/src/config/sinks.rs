//! Which sinks are chosen, and with which options.

use telemetry_core::{Entry, Location, OptionValue, Options, Registry, SinkEntry};

use super::{Key, KeyKind, SinkChoice};
use crate::builtin;
use crate::resolver::{Resolver, join};
use crate::suggestion::{nearest, suggestion};
use crate::yaml::{Node, Value};

/// What is chosen when nobody chooses.
const DEFAULT: &[&str] = &["console", "sqlite"];
/// Llama Stack's older name for two sinks.
const OTEL: &str = "otel";
/// The variable that chooses when the file doesn't.
const VARIABLE: &str = "TELEMETRY_SINKS";

const KEY: Key = Key {
    name: "sinks",
    kind: KeyKind::List,
    flat: None,
    default: None,
    help: "the sinks to start, a list or one text with commas",
};

/// The chosen sinks with their options; those not chosen are checked and left.
pub(super) fn choose(
    registry: &Registry,
    config: &Node,
    path: &str,
    resolver: &mut Resolver<'_>,
) -> Vec<SinkChoice> {
    let mut choices = Vec::new();
    let chosen = entries(registry, config, path, resolver);
    for entry in registry.entries().filter(|entry| !chosen.iter().any(|other| other.name == entry.name)) {
        let _ = given(entry, config, path, resolver);
    }
    for entry in chosen {
        let mut options = given(entry, config, path, resolver);
        resolver.add_defaults(entry.name, &mut options, entry.keys);
        choices.push(SinkChoice { entry, options: Options::new(options) });
    }
    choices
}

/// Whether the file's `sinks` has this name, so that a map of the name is no unknown key.
pub(super) fn is_asked_for(name: &str, config: &Node) -> bool {
    let is_name = |text: &str| text.split(',').any(|item| item.trim() == name);
    match config.get("sinks").map(|node| &node.value) {
        Some(Value::List(items)) => {
            items.iter().any(|item| matches!(&item.value, Value::Text(text) if is_name(text)))
        }
        Some(Value::Text(text)) => is_name(text),
        Some(_) | None => false,
    }
}

/// The options that the configuration gives: the sink's own map, else the flat keys.
fn given(entry: &SinkEntry, config: &Node, path: &str, resolver: &mut Resolver<'_>) -> Vec<(String, Entry)> {
    let mut options = match config.get(entry.name) {
        Some(map) => resolver.options(map, &join(path, entry.name), entry.keys),
        None => Vec::new(),
    };
    for key in entry.keys {
        let Some(flat) = key.flat else { continue };
        let Some(node) = config.get(flat) else { continue };
        // Read even when the map has the key, so that its problems show.
        let value = resolver.value(node, &join(path, flat), key);
        if !options.iter().any(|(name, _)| name == key.name) {
            options.extend(value.map(|value| (key.name.to_owned(), value)));
        }
    }
    options
}

/// The entries that the file names, else the environment, else those of the defaults this build has.
fn entries(
    registry: &Registry,
    config: &Node,
    path: &str,
    resolver: &mut Resolver<'_>,
) -> Vec<&'static SinkEntry> {
    let problems_before = resolver.problems.len();
    let named = config.get("sinks").and_then(|node| resolver.value(node, &join(path, "sinks"), &KEY));
    if resolver.problems.len() > problems_before {
        return Vec::new();
    }
    let named = named.or_else(|| resolver.variable(VARIABLE));
    let Some(named) = named else { return defaults(registry, resolver) };
    let mut chosen: Vec<&'static SinkEntry> = Vec::new();
    for (name, location) in names(named) {
        let both = ["otel_trace", "otel_metric"];
        let one = [name.as_str()];
        let resolved: &[&str] = if name == OTEL && registry.get(OTEL).is_none() {
            resolver.warnings.push(format!("sink `{OTEL}` is now called `{}`", both.join("`, `")));
            &both
        } else {
            &one
        };
        for name in resolved {
            match registry.get(name) {
                Some(entry) if chosen.iter().any(|other| other.name == entry.name) => {
                    resolver.warnings.push(format!("sink `{name}` is named twice and started once"));
                }
                Some(entry) => chosen.push(entry),
                None => resolver.note(location.clone(), not_there(name, registry)),
            }
        }
    }
    if chosen.is_empty() && resolver.problems.len() == problems_before {
        resolver.warnings.push("no sink is chosen: nothing is recorded".to_owned());
    }
    chosen
}

fn defaults(registry: &Registry, resolver: &mut Resolver<'_>) -> Vec<&'static SinkEntry> {
    let mut chosen = Vec::new();
    let mut missing = Vec::new();
    for name in DEFAULT {
        match registry.get(name) {
            Some(entry) => chosen.push(entry),
            None => missing.push(*name),
        }
    }
    let all = DEFAULT.join(",");
    if chosen.is_empty() {
        let message = format!(
            "none of the default sinks {all} is in this build; choose with `sinks` or ${VARIABLE}{}",
            suggestion("", registry.names()),
        );
        resolver.note(Location { path: KEY.name.to_owned(), ..Location::default() }, message);
    } else if !missing.is_empty() {
        let missing = missing.join("`, `");
        resolver.warnings.push(format!("of the default sinks {all}, `{missing}` is not in this build"));
    }
    chosen
}

/// The names in a list or in a text with commas, and where each stands.
fn names(entry: Entry) -> Vec<(String, Location)> {
    match entry.value {
        OptionValue::List(items) => items.into_iter().flat_map(names).collect(),
        OptionValue::Text(text) => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| (name.to_owned(), entry.location.clone())).collect()
        }
        // The list was checked to be one of texts.
        _ => Vec::new(),
    }
}

/// Why a name means nothing, and the way out.
fn not_there(name: &str, registry: &Registry) -> String {
    if let Some(absent) = builtin::absent(name) {
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
        "no sink named `{name}` is linked (linked: {linked}); if a crate in Cargo.toml has it, the program must \
         name that crate once: `telemetry_provider::link_sinks!(that_crate);`"
    )
}
