//! Every error message, word for word.

use super::*;

#[track_caller]
fn fails(text: &str, expected: &str) {
    assert_eq!(read(text).unwrap_err(), expected, "\n{text}");
}

#[test]
fn malformed_yaml_shows_line_column_and_excerpt() {
    fails(
        "telemetry:\n- provider_id: a: b\n",
        "configuration: line 2, column 17: mapping values are not allowed in this context\n  2 | - provider_id: a: b\n    |                 ^",
    );
    fails(
        "telemetry: []\ntelemetry: []\n",
        "configuration: line 2, column 1: duplicate mapping key `telemetry` is not allowed here\n  2 | telemetry: []\n    | ^",
    );
}

#[test]
fn an_unknown_key_suggests_the_most_similar_one() {
    fails(
        &provider("sqlite:\n  synchronus: full"),
        "configuration: telemetry[0].config.sqlite.synchronus (line 6, column 7): unknown key `synchronus`; \
         did you mean `synchronous`?\n  6 |       synchronus: full\n    |       ^",
    );
    fails(
        &provider("sqlite_path: x"),
        "configuration: telemetry[0].config.sqlite_path (line 5, column 5): unknown key `sqlite_path`; \
         did you mean `sqlite_db_path`?\n  5 |     sqlite_path: x\n    |     ^",
    );
    fails(
        "telemtry: []",
        "configuration: telemtry (line 1, column 1): unknown key `telemtry`; did you mean `telemetry`?\n  \
         1 | telemtry: []\n    | ^",
    );
    fails(
        &provider("pipeline: {queue_slot: 1}"),
        "configuration: telemetry[0].config.pipeline.queue_slot (line 5, column 16): unknown key `queue_slot`; \
         did you mean `queue_slots`?\n  5 |     pipeline: {queue_slot: 1}\n    |                ^",
    );
    fails(
        "telemetry: [{provider_id: a, provider_typ: b}]",
        "configuration: 2 problems\n\
         telemetry[0] (line 1, column 13): `provider_type` is missing; set `inline::meta-reference`\n  \
         1 | telemetry: [{provider_id: a, provider_typ: b}]\n    |             ^\n\
         telemetry[0].provider_typ (line 1, column 30): unknown key `provider_typ`; did you mean `provider_type`?\n  \
         1 | telemetry: [{provider_id: a, provider_typ: b}]\n    |                              ^",
    );
}

#[test]
fn an_unknown_sink_lists_the_linked_ones_and_the_line_to_write() {
    fails(
        &provider("sinks: [console, kafka]\nkafka: {brokers: x}"),
        "configuration: telemetry[0].config.sinks[1] (line 5, column 22): no sink named `kafka` is linked \
         (linked: acme, console, otel_metric, otel_trace, sqlite); if it comes from a crate in Cargo.toml, the program \
         must link that crate: `telemetry_provider::link_sinks!(that_crate);`\n  \
         5 |     sinks: [console, kafka]\n    |                      ^",
    );
}

#[test]
fn a_misspelt_sink_suggests_the_most_similar_one() {
    fails(
        &provider("sinks: consol, sqlite"),
        "configuration: telemetry[0].config.sinks (line 5, column 12): no sink named `consol` is linked (linked: \
         acme, console, otel_metric, otel_trace, sqlite); did you mean `console`?\n  \
         5 |     sinks: consol, sqlite\n    |            ^",
    );
}

#[test]
fn an_unknown_sink_of_the_environment_names_the_variable() {
    let environment = Variables::from([("HOME", "/h"), ("TELEMETRY_SINKS", "kafka")]);
    let error = read_in("", &environment).unwrap_err();
    assert!(error.starts_with("configuration: $TELEMETRY_SINKS: no sink named `kafka` is linked"), "{error}");
}

#[test]
fn an_unset_variable_is_named_with_its_path() {
    fails(
        &provider("service_name: ${env.WHO}"),
        "configuration: telemetry[0].config.service_name (line 5, column 19): the environment variable WHO is not \
         set; set it or write `${env.WHO:=default}`\n  5 |     service_name: ${env.WHO}\n    |                   ^",
    );
    fails(
        "telemetry: [{provider_id: '${env.WHO}'}]",
        "configuration: telemetry[0].provider_id (line 1, column 27): the environment variable WHO is not set; set \
         it or write `${env.WHO:=default}`\n  1 | telemetry: [{provider_id: '${env.WHO}'}]\n    |                           ^",
    );
}

#[test]
fn a_value_of_the_wrong_type_says_what_was_expected() {
    for (config, expected) in [
        ("sqlite: 7", "sqlite (line 5, column 13): expected a map of options, found integer"),
        (
            "sqlite: {readers: many}",
            "sqlite.readers (line 5, column 23): expected a whole number, found text",
        ),
        (
            "sqlite: {max_size: big}",
            "sqlite.max_size (line 5, column 24): expected a size like `64MiB`, found text",
        ),
        ("sqlite: {checked: 1}", "sqlite.checked (line 5, column 23): expected true or false, found integer"),
        (
            "sqlite: {synchronous: max}",
            "sqlite.synchronous (line 5, column 27): unknown value `max`: expected one of normal, full",
        ),
        ("sqlite_db_path: [a]", "sqlite_db_path (line 5, column 21): expected text, found list"),
        ("acme: {topics: {a: b}}", "acme.topics (line 5, column 20): expected a list of texts, found map"),
        ("pipeline: {queue_slots: 0}", "pipeline.queue_slots (line 5, column 29): must be at least 1"),
        ("sinks: {a: b}", "sinks (line 5, column 12): expected a list of texts, found map"),
        ("service_name: [a]", "service_name (line 5, column 19): expected text, found list"),
    ] {
        let error = read(&provider(config)).unwrap_err();
        let first = error.lines().next().unwrap();
        assert_eq!(first, format!("configuration: telemetry[0].config.{expected}"), "{config}");
    }
}

#[test]
fn the_list_of_providers_must_be_valid() {
    for (text, expected) in [
        ("7", "line 1, column 1: expected a map with the list `telemetry`, found integer"),
        ("telemetry: x", "telemetry (line 1, column 12): expected a list of providers, found text"),
        (
            "telemetry: [x]",
            "telemetry[0] (line 1, column 13): expected a map with `provider_id` and `provider_type`, found text",
        ),
        ("telemetry: [{}]", "telemetry[0] (line 1, column 13): `provider_id` is missing"),
        ("providers: {}", "providers (line 1, column 12): the list `providers.telemetry` is missing"),
        (
            "providers: {telemetry: []}\ntelemetry: []",
            "telemetry (line 2, column 12): `providers.telemetry` has providers too; remove one of the two lists",
        ),
        (
            "telemetry: [{provider_id: a, provider_type: remote::x}]",
            "telemetry[0].provider_type (line 1, column 45): `remote::x` is not supported; set `inline::meta-reference`",
        ),
        (
            "telemetry: [{provider_id: a, provider_type: }]",
            "telemetry[0].provider_type (line 1, column 43): `provider_type` is empty; set `inline::meta-reference`",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.lines().next().unwrap(), format!("configuration: {expected}"), "{text}");
    }
}

#[test]
fn two_enabled_providers_are_an_error() {
    let one = "provider_type: 'inline::meta-reference'";
    fails(
        &format!("telemetry:\n- {{provider_id: a, {one}}}\n- {{provider_id: b, {one}}}\n"),
        "configuration: telemetry[1] (line 3, column 3): only one telemetry provider may be enabled, found `a` and \
         `b`; disable one with `provider_id: __disabled__`\n  \
         3 | - {provider_id: b, provider_type: 'inline::meta-reference'}\n    |   ^",
    );
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_the_document() {
    let text = provider("sinks: [kafka]\nservice_name: ${env.WHO}\nsqlite: {readers: x, pth: y}\nservr: 1")
        + "server: {lisen: x}\n";
    let error = read(&text).unwrap_err();
    let starts: Vec<&str> =
        error.lines().filter_map(|line| line.split_once(" (line").map(|(path, _)| path)).collect();
    assert_eq!(
        starts,
        [
            "telemetry[0].config.sinks[0]",
            "telemetry[0].config.service_name",
            "telemetry[0].config.sqlite.readers",
            "telemetry[0].config.sqlite.pth",
            "telemetry[0].config.servr",
            "server.lisen",
        ]
    );
    assert!(error.starts_with("configuration: 6 problems\n"));
}

#[test]
fn a_problem_of_a_shared_flat_key_is_reported_once() {
    let error = read(&provider("sinks: otel\notel_exporter_otlp_endpoint: ${env.WHERE}")).unwrap_err();
    assert_eq!(error.matches("WHERE is not set").count(), 1, "{error}");
}

#[test]
fn no_secret_is_shown() {
    for text in [
        provider("sinks: otel_trace\notel_trace: {headers: {authorization: hush}, endpont: x}"),
        "server: {tokens: [hush, }".to_owned(),
        "server:\n  tokens:\n  - hush: [\n".to_owned(),
        provider("otel_trace:\n  headers:\n    authorization: 'hush\n"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
    }
    let config = read("server: {tokens: hush}").unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn an_unset_home_is_named() {
    let error = read_in("", &Variables::default()).unwrap_err();
    assert_eq!(
        error,
        "configuration: sqlite.path: can't expand `~` in `~/.llama/runtime/trace_store.db`: the environment variable \
         HOME is not set"
    );
}

#[test]
fn a_file_is_named_in_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.yaml");
    let registry = registry();
    let missing = Config::from_file(&path, &registry).unwrap_err();
    assert_eq!(missing.to_string(), format!("can't read the configuration {}", path.display()));
    assert!(std::error::Error::source(&missing).is_some());

    std::fs::write(&path, "telemetry: x").unwrap();
    let invalid = Config::from_file(&path, &registry).unwrap_err();
    assert!(invalid.to_string().starts_with(&format!("{}: telemetry (line 1", path.display())), "{invalid}");
    assert_eq!(invalid.problems().len(), 1);

    std::fs::write(&path, b"telemetry: \xFF").unwrap();
    assert!(matches!(Config::from_file(&path, &registry), Err(crate::ConfigError::Read { .. })));

    std::fs::write(&path, " ".repeat((4 << 20) + 1)).unwrap();
    let large = Config::from_file(&path, &registry).unwrap_err();
    assert_eq!(std::error::Error::source(&large).unwrap().to_string(), "the file is larger than 4 MiB");
    assert!(matches!(Config::from_file(folder.path(), &registry), Err(crate::ConfigError::Read { .. })));
}
