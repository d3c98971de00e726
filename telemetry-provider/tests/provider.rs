//! A provider from its file to its shutdown, with the real store.
#![cfg(feature = "sqlite")]

use std::path::Path;
use std::time::Duration;

use telemetry_core::{Registry, Severity, SinkEntry, SinkError, attrs};
use telemetry_provider::{Config, Provider, ProviderError, Variables};

const WITHIN: Duration = Duration::from_secs(10);

fn document(config: &str) -> String {
    format!("telemetry: [{{provider_id: a, provider_type: 'inline::meta-reference', config: {{{config}}}}}]")
}

fn write(folder: &Path, config: &str) -> std::path::PathBuf {
    let path = folder.join("run.yaml");
    std::fs::write(&path, document(config)).expect("the folder is writable");
    path
}

#[test]
fn the_configured_sink_is_started_and_stores_what_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("new folder/traces.db");
    let path = write(
        folder.path(),
        &format!("service_name: me, sinks: sqlite, sqlite_db_path: {}", database.display()),
    );
    for _ in 0..2 {
        let provider = Provider::from_file(&path).unwrap();
        let telemetry = provider.telemetry();
        assert_eq!(telemetry.service_name(), "me");
        assert!(telemetry.store().is_some());
        telemetry.span("chat", attrs! { "model_id" => "llama" }).log(Severity::Info, "hello");
        let report = provider.shutdown(WITHIN);
        assert!(report.abandoned.is_empty());
        assert_eq!(report.ledger.sinks[0].delivered, 3);
    }
    assert!(database.exists());
}

#[test]
fn a_sink_that_does_not_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &format!("sinks: sqlite, sqlite_db_path: {}", folder.path().display()));
    let error = Provider::from_file(&path).unwrap_err();
    assert!(matches!(error, ProviderError::Start(_)));
    assert!(error.to_string().starts_with("sink `sqlite`: "), "{error}");
}

#[test]
fn a_configuration_without_providers_starts_a_disabled_handle() {
    let registry = telemetry_provider::registry().unwrap();
    let config = Config::from_yaml("telemetry: []", &registry, &Variables::default()).unwrap();
    let provider = Provider::start(config).unwrap();
    assert!(!provider.telemetry().is_enabled());
    assert!(provider.shutdown(WITHIN).abandoned.is_empty());
}

#[test]
fn another_sink_with_the_name_of_a_built_in_one_is_an_error() {
    static SQLITE: SinkEntry = SinkEntry {
        name: "sqlite",
        summary: "another",
        keys: &[],
        build: |_| Box::pin(async { Err(SinkError::close("never built")) }),
    };
    let linked = telemetry_provider::registry().unwrap();
    let error = Registry::from_entries(linked.entries().chain([&SQLITE])).unwrap_err();
    assert!(error.to_string().starts_with("two sinks are named `sqlite`: "), "{error}");
}
