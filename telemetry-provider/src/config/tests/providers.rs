//! The place of the provider in a document, and providers that are disabled.

use super::*;

/// A file as Llama Stack 0.2.20 generates it. Variables outside the telemetry provider are not set.
const RUN_YAML: &str = "\
version: 2
image_name: starter
apis: [inference, telemetry]
providers:
  inference:
  - provider_id: ${env.CEREBRAS_API_KEY:+cerebras}
    provider_type: remote::cerebras
    config: {api_key: '${env.NOT_SET}', url: '${env.NOT_SET_EITHER'}
  telemetry:
  - provider_id: meta-reference
    provider_type: inline::meta-reference
    config:
      service_name: \"${env.OTEL_SERVICE_NAME:=\\u200B}\"
      sinks: ${env.TELEMETRY_SINKS:=console,sqlite}
      sqlite_db_path: ${env.SQLITE_STORE_DIR:=~/.llama/distributions/starter}/trace_store.db
      otel_exporter_otlp_endpoint: ${env.OTEL_EXPORTER_OTLP_ENDPOINT:=}
models: []
server:
  port: 8321
";

#[test]
fn a_whole_run_yaml_works_as_llama_stack_writes_it() {
    let config = read(RUN_YAML).unwrap();
    assert_eq!(names(&config), ["console", "sqlite"]);
    assert_eq!(config.service_name(), "");
    let path = option(&config, "sqlite", "path");
    assert_eq!(path.as_deref(), Some("/home/ada/.llama/distributions/starter/trace_store.db"));
    assert!(config.warnings().is_empty());
}

#[test]
fn the_environment_fills_a_run_yaml() {
    let environment = Variables::from([
        ("OTEL_SERVICE_NAME", "llama"),
        ("TELEMETRY_SINKS", "otel_trace"),
        ("SQLITE_STORE_DIR", "/data"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
    ]);
    let config = read_in(RUN_YAML, &environment).unwrap();
    assert_eq!(names(&config), ["otel_trace"]);
    assert_eq!(config.service_name(), "llama");
    assert_eq!(option(&config, "otel_trace", "endpoint").as_deref(), Some("http://c:4318"));
}

#[test]
fn server_of_a_run_yaml_is_llama_stacks_own() {
    let text = "providers: {telemetry: []}\nserver: {listen: '0.0.0.0:1', port: 8321}\n";
    let config = read(text).unwrap();
    assert_eq!(config.server().text("listen").unwrap().as_deref(), Some("127.0.0.1:8322"));
    assert!(
        config.warnings()[0].starts_with("`server` in a run.yaml configures Llama Stack and is not read")
    );
}

#[test]
fn an_empty_document_means_the_defaults() {
    for text in ["", "---\n", "# nothing\n", "server: {listen: '127.0.0.1:1'}\n", "x-anchor: &a 1\n"] {
        assert_eq!(names(&read(text).unwrap()), ["console", "sqlite"], "{text}");
    }
}

#[test]
fn disabled_providers_are_skipped_whatever_they_contain() {
    let text = "\
telemetry:
- provider_id: __disabled__
  provider_type: remote::other
  config: {sinks: '${env.NOT_SET}'}
- provider_id: ${env.NOT_SET:+meta-reference}
  config: 7
- provider_id: ''
- provider_id: meta-reference
  provider_type: inline::meta-reference
  config: {sinks: console}
";
    assert_eq!(names(&read(text).unwrap()), ["console"]);
}

#[test]
fn a_file_may_disable_telemetry() {
    for text in ["telemetry: []", "telemetry:", "telemetry: [{provider_id: __disabled__}]"] {
        let config = read(text).unwrap();
        assert!(!config.is_enabled(), "{text}");
        assert!(config.sinks().is_empty());
        assert_eq!(config.warnings(), ["no telemetry provider is enabled; nothing is recorded"]);
    }
}

#[test]
fn config_may_be_missing_or_null() {
    for line in ["", "  config:", "  config: {}"] {
        let text = format!("telemetry:\n- provider_id: a\n  provider_type: inline::meta-reference\n{line}\n");
        assert_eq!(names(&read(&text).unwrap()), ["console", "sqlite"], "{line}");
    }
}

#[test]
fn the_telemetry_map_of_newer_llama_stacks_is_ignored() {
    let text = "providers:\n  telemetry: []\ntelemetry: {enabled: true}\n";
    assert!(!read(text).unwrap().is_enabled());
}

#[test]
fn without_server_keys_the_map_server_is_ignored() {
    let registry = registry();
    let config = Config::from_yaml("server: {x: '${env.NOT_SET}'}", &registry, &home()).unwrap();
    assert_eq!(config.server().keys().count(), 0);
}

#[test]
fn server_keys_have_defaults_and_variables() {
    let environment = Variables::from([("HOME", "/h"), ("T", "0123"), ("TELEMETRY_TOKENS", "1e5")]);
    let given = read_in("server: {tokens: ['${env.T}', \"${env.N:=}\"]}", &environment).unwrap();
    assert_eq!(given.server().list("tokens").unwrap().unwrap(), ["0123"]);
    let default = read_in("", &environment).unwrap();
    assert_eq!(default.server().text("tokens").unwrap().as_deref(), Some("1e5"));
    assert_eq!(default.server().text("listen").unwrap().as_deref(), Some("127.0.0.1:8322"));
}
