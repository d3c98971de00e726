//! Tests of configurations: errors, the place of the provider in a document, and values.

mod errors;
mod providers;
mod values;

use telemetry_core::{Key, KeyKind, Registry, SinkEntry, SinkError};

use crate::{Config, ConfigReader, Variables};

const fn key(name: &'static str, kind: KeyKind, default: Option<&'static str>) -> Key {
    Key { name, kind, flat: None, default, help: "" }
}

const fn sink(name: &'static str, keys: &'static [Key]) -> SinkEntry {
    SinkEntry { name, summary: "", keys, build: |_| Box::pin(async { Err(SinkError::close("never built")) }) }
}

static CONSOLE: SinkEntry = sink("console", &[key("colour", KeyKind::Choice(&["auto", "never"]), None)]);
static SQLITE: SinkEntry = sink(
    "sqlite",
    &[
        Key {
            flat: Some("sqlite_db_path"),
            ..key("path", KeyKind::Path, Some("${env.SQLITE_STORE_DIR:=~/.llama/runtime}/trace_store.db"))
        },
        key("synchronous", KeyKind::Choice(&["normal", "full"]), Some("normal")),
        key("readers", KeyKind::Integer, Some("4")),
        key("max_size", KeyKind::Size, None),
        key("purge_interval", KeyKind::Duration, None),
        key("checked", KeyKind::Flag, None),
        key("share", KeyKind::Float, None),
    ],
);
const OTEL_KEYS: &[Key] = &[
    Key { flat: Some("otel_exporter_otlp_endpoint"), ..key("endpoint", KeyKind::Text, None) },
    key("headers", KeyKind::Secret, None),
    key("resource_attributes", KeyKind::Map, None),
];
static OTEL_TRACE: SinkEntry = sink("otel_trace", OTEL_KEYS);
static OTEL_METRIC: SinkEntry = sink("otel_metric", OTEL_KEYS);
static ACME: SinkEntry = sink("acme", &[key("topics", KeyKind::List, None)]);
static SERVER_KEYS: &[Key] = &[
    key("listen", KeyKind::Text, Some("127.0.0.1:8322")),
    key("tokens", KeyKind::Secret, Some("${env.TELEMETRY_TOKENS:=}")),
];

fn registry() -> Registry {
    Registry::from_entries([&CONSOLE, &SQLITE, &OTEL_TRACE, &OTEL_METRIC, &ACME]).unwrap()
}

/// Reads a document with this environment, as the server does.
fn read_in(text: &str, environment: &Variables) -> Result<Config, String> {
    let registry = registry();
    let reader = ConfigReader::new(&registry).environment(environment).server_keys(SERVER_KEYS);
    reader.read_yaml(text).map_err(|error| error.to_string())
}

fn home() -> Variables {
    Variables::from([("HOME", "/home/ada")])
}

fn read(text: &str) -> Result<Config, String> {
    read_in(text, &home())
}

/// Returns a document with one provider, whose configuration consists of these lines.
fn provider(config: &str) -> String {
    let mut text =
        "telemetry:\n- provider_id: meta-reference\n  provider_type: inline::meta-reference\n  config:\n"
            .to_owned();
    for line in config.lines() {
        text = format!("{text}    {line}\n");
    }
    text
}

fn names(config: &Config) -> Vec<&str> {
    config.sinks().iter().map(|choice| choice.entry.name).collect()
}

/// Returns an option of a chosen sink as text.
fn option(config: &Config, sink: &str, key: &str) -> Option<String> {
    let choice = config.sinks().iter().find(|choice| choice.entry.name == sink)?;
    choice.options.text(key).unwrap()
}
