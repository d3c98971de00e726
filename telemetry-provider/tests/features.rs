//! The sinks of each combination of features, and the messages about the others.

use telemetry_core::Registry;
use telemetry_provider::{Config, Variables, registry};

/// Each built-in sink, its feature, and whether the feature is enabled.
const SINKS: [(&str, &str, bool); 5] = [
    ("console", "console", cfg!(feature = "console")),
    ("otel_log", "otel", cfg!(feature = "otel")),
    ("otel_metric", "otel", cfg!(feature = "otel")),
    ("otel_trace", "otel", cfg!(feature = "otel")),
    ("sqlite", "sqlite", cfg!(feature = "sqlite")),
];

fn document(sink: &str) -> String {
    format!(
        "telemetry: [{{provider_id: a, provider_type: 'inline::meta-reference', config: {{sinks: {sink}}}}}]"
    )
}

fn home() -> Variables {
    Variables::from([("HOME", "/home/ada")])
}

#[test]
fn a_build_has_exactly_the_sinks_of_its_features() {
    let expected: Vec<&str> = SINKS.iter().filter(|(.., on)| *on).map(|(name, ..)| *name).collect();
    assert_eq!(registry().unwrap().names().collect::<Vec<_>>(), expected);
}

#[test]
fn the_error_for_an_absent_sink_names_its_feature() {
    let registry = registry().unwrap();
    for (name, feature, on) in SINKS {
        let config = Config::from_yaml(&document(name), &registry, &home());
        if on {
            assert_eq!(config.unwrap().sinks()[0].entry.name, name);
        } else {
            let error = config.unwrap_err();
            let expected = format!(
                "sink `{name}` is not in this build; enable the `{feature}` feature of telemetry-provider"
            );
            assert_eq!(error.problems()[0].message, expected);
        }
    }
}

#[test]
fn every_build_with_a_default_sink_accepts_the_standard_configuration() {
    let text = "
telemetry:
- provider_id: meta-reference
  provider_type: inline::meta-reference
  config:
    service_name: llama-stack-service
    otel_exporter_otlp_endpoint: http://localhost:4318
    sqlite_db_path: /path/to/telemetry.db
";
    let config = Config::from_yaml(text, &registry().unwrap(), &home());
    if cfg!(any(feature = "console", feature = "sqlite")) {
        let names: Vec<&str> = config.unwrap().sinks().iter().map(|choice| choice.entry.name).collect();
        let default = ["console", "sqlite"];
        let expected: Vec<&str> = default
            .into_iter()
            .filter(|name| SINKS.iter().any(|(other, _, on)| other == name && *on))
            .collect();
        assert_eq!(names, expected);
    } else {
        let message = config.unwrap_err().problems()[0].message.clone();
        assert!(
            message.starts_with("none of the default sinks console,sqlite is in this build"),
            "{message}"
        );
    }
}

#[test]
fn options_of_an_absent_sink_are_ignored_with_a_warning() {
    let registry = Registry::linked(&[]).unwrap();
    for (name, ..) in SINKS.iter().filter(|(.., on)| !on) {
        let text = format!(
            "telemetry: [{{provider_id: a, provider_type: 'inline::meta-reference', config: {{sinks: [], {name}: {{x: y}}}}}}]"
        );
        let config = Config::from_yaml(&text, &registry, &home()).unwrap();
        assert!(
            config
                .warnings()
                .contains(&format!("sink `{name}` is not in this build; its options are ignored"))
        );
    }
}
