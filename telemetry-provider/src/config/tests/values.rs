//! Values: which source wins, and how a value is read.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn sinks_are_a_list_or_a_text_with_commas() {
    for (sinks, expected) in [
        ("[console, sqlite]", &["console", "sqlite"][..]),
        ("['sqlite','console']", &["sqlite", "console"]),
        ("console,sqlite", &["console", "sqlite"]),
        ("' console , sqlite ,'", &["console", "sqlite"]),
        ("console", &["console"]),
        ("['${env.NOT_SET:=console,sqlite}', '${env.NOT_SET:+acme}']", &["console", "sqlite"]),
        ("['${env.HOME:+acme}']", &["acme"]),
        ("[]", &[]),
    ] {
        assert_eq!(names(&read(&provider(&format!("sinks: {sinks}"))).unwrap()), expected, "{sinks}");
    }
}

#[test]
fn sinks_come_from_the_file_else_the_environment_else_the_default() {
    let environment = Variables::from([("HOME", "/h"), ("TELEMETRY_SINKS", "acme, console")]);
    assert_eq!(names(&read_in(&provider("sinks: sqlite"), &environment).unwrap()), ["sqlite"]);
    for config in ["sinks:", "sinks: ${env.NOT_SET:=}", ""] {
        assert_eq!(names(&read_in(&provider(config), &environment).unwrap()), ["acme", "console"]);
        assert_eq!(names(&read(&provider(config)).unwrap()), ["console", "sqlite"]);
    }
    let empty = Variables::from([("HOME", "/h"), ("TELEMETRY_SINKS", " ")]);
    assert_eq!(names(&read_in("", &empty).unwrap()), ["console", "sqlite"]);
}

#[test]
fn the_default_sinks_are_those_that_the_build_has() {
    let registry = Registry::from_entries([&CONSOLE, &ACME]).unwrap();
    let config = Config::from_yaml("", &registry, &home()).unwrap();
    assert_eq!(names(&config), ["console"]);
    assert_eq!(config.warnings(), ["default sink `sqlite` is not in this build and is not started"]);
}

#[test]
fn otel_is_two_sinks_with_a_warning() {
    let config = read(&provider("sinks: [otel]")).unwrap();
    assert_eq!(names(&config), ["otel_trace", "otel_metric"]);
    assert_eq!(config.warnings(), ["sink name `otel` is deprecated; write `otel_trace,otel_metric`"]);
}

#[test]
fn a_sink_named_twice_is_started_once() {
    let config = read(&provider("sinks: [console, console]")).unwrap();
    assert_eq!(names(&config), ["console"]);
    assert_eq!(config.warnings(), ["`sinks` contains `console` twice; it is started once"]);
}

#[test]
fn the_service_name_is_the_files_else_the_environments_else_empty() {
    let environment = Variables::from([("HOME", "/h"), ("OTEL_SERVICE_NAME", "from-env")]);
    for (config, with, without) in [
        ("service_name: mine", "mine", "mine"),
        ("service_name: 007", "007", "007"),
        ("service_name: 1.10", "1.10", "1.10"),
        ("service_name: ''", "from-env", ""),
        ("service_name: \"\\u200B\"", "from-env", ""),
        ("service_name:", "from-env", ""),
        ("", "from-env", ""),
    ] {
        let text = provider(config);
        assert_eq!(read_in(&text, &environment).unwrap().service_name(), with, "{config}");
        assert_eq!(read(&text).unwrap().service_name(), without, "{config}");
    }
    let empty = Variables::from([("HOME", "/h"), ("OTEL_SERVICE_NAME", "\u{200B}")]);
    assert_eq!(read_in("", &empty).unwrap().service_name(), "");
}

#[test]
fn a_map_wins_over_a_flat_key_and_that_over_the_default() {
    let path = |config| option(&read(&provider(config)).unwrap(), "sqlite", "path").unwrap();
    assert_eq!(path(""), "/home/ada/.llama/runtime/trace_store.db");
    assert_eq!(path("sqlite_db_path: ~/flat.db"), "/home/ada/flat.db");
    assert_eq!(path("sqlite: {path: ~/map.db}"), "/home/ada/map.db");
    assert_eq!(path("sqlite_db_path: /flat.db\nsqlite: {path: /map.db}"), "/map.db");
    assert_eq!(path("sqlite_db_path: /flat.db\nsqlite: {path: null}"), "/flat.db");
    let environment = Variables::from([("SQLITE_STORE_DIR", "/data")]);
    let config = read_in("", &environment).unwrap();
    assert_eq!(option(&config, "sqlite", "path").as_deref(), Some("/data/trace_store.db"));
}

#[test]
fn a_flat_key_goes_to_every_sink_that_has_it() {
    let text = provider(
        "sinks: [otel_trace, otel_metric]\notel_exporter_otlp_endpoint: http://a\notel_metric: {endpoint: http://b}",
    );
    let config = read(&text).unwrap();
    assert_eq!(option(&config, "otel_trace", "endpoint").as_deref(), Some("http://a"));
    assert_eq!(option(&config, "otel_metric", "endpoint").as_deref(), Some("http://b"));
}

#[test]
fn an_expanded_value_has_the_type_of_its_key() {
    let environment = Variables::from([
        ("HOME", "/h"),
        ("NUMBER", "8"),
        ("FLAG", "TRUE"),
        ("FLOAT", "0.5"),
        ("SIZE", "10GiB"),
        ("EMPTY", ""),
    ]);
    let text = provider(
        "sqlite:
  readers: ${env.NUMBER}
  checked: ${env.FLAG}
  share: ${env.FLOAT}
  max_size: ${env.SIZE}
  purge_interval: ${env.NUMBER}
  synchronous: ${env.EMPTY}",
    );
    let config = read_in(&text, &environment).unwrap();
    let options = &config.sinks()[1].options;
    assert_eq!(options.integer::<u32>("readers"), Ok(Some(8)));
    assert_eq!(options.flag("checked"), Ok(Some(true)));
    assert_eq!(options.float("share"), Ok(Some(0.5)));
    assert_eq!(options.size("max_size"), Ok(Some(10 << 30)));
    assert_eq!(options.duration("purge_interval"), Ok(Some(Duration::from_secs(8))));
    // An empty value counts as absent, so the default applies.
    assert_eq!(options.text("synchronous").unwrap().as_deref(), Some("normal"));
}

#[test]
fn text_is_read_as_written() {
    let environment = Variables::from([("TOKEN", "0123"), ("VERSION", "1.10")]);
    let text = provider(
        "sinks: otel_trace
otel_trace:
  headers: {authorization: '${env.TOKEN}', plain: 1e5}
  resource_attributes: {a: '${env.VERSION}', b: 1.10, c: yes, d: '${env.NONE:=}'}",
    );
    let config = read_in(&text, &environment).unwrap();
    let options = &config.sinks()[0].options;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        options.map("headers").unwrap().unwrap(),
        [pair("authorization", "0123"), pair("plain", "1e5")]
    );
    assert_eq!(
        options.map("resource_attributes").unwrap().unwrap(),
        [pair("a", "1.10"), pair("b", "1.10"), pair("c", "yes")]
    );
}

#[test]
fn a_third_party_sink_has_a_map_of_options() {
    let config = read(&provider("sinks: acme\nacme: {topics: [a, 7]}")).unwrap();
    assert_eq!(config.sinks()[0].options.list("topics").unwrap().unwrap(), ["a", "7"]);
}

#[test]
fn pipeline_settings_are_read() {
    let config = read(&provider("pipeline: {queue_slots: 128, max_open_age: 1h}")).unwrap();
    assert_eq!(config.pipeline().queue_slots, 128);
    assert_eq!(config.pipeline().assembler.max_open_age, Duration::from_secs(3_600));
}

#[test]
fn defaults_of_sinks_that_are_not_chosen_are_not_checked() {
    // Without HOME the default path of sqlite can't be expanded.
    assert!(read_in(&provider("sinks: console"), &Variables::default()).is_ok());
}

#[test]
fn anchors_and_merges_work() {
    let text =
        format!("x-common: &common {{readers: 2}}\n{}", provider("sqlite: {<<: *common, synchronous: full}"));
    let config = read(&text).unwrap();
    assert_eq!(option(&config, "sqlite", "readers").as_deref(), Some("2"));
    assert_eq!(option(&config, "sqlite", "synchronous").as_deref(), Some("full"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_yaml_like_text_panics(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "telemetry:", "providers:", "\n", "\n  ", "- ", "provider_id: ", "config:", "sinks: ", "{", "}",
                "[", "]", ",", "${env.", "HOME", ":=", ":+", "}", "&a ", "*a", "<<: ", "~", "\"", "'", "|", "é", "\t",
                "server: ", "pipeline: ", "sqlite: ", "1e999", "!!int ", "\0", "meta-reference",
            ]),
            0..40,
        ),
    ) {
        let _ = read(&pieces.concat());
    }

    #[test]
    fn no_value_panics(value in "\\PC{0,40}") {
        for key in ["sinks", "service_name", "sqlite", "pipeline", "sqlite_db_path"] {
            let quoted = serde_saphyr::to_string(&value).unwrap();
            let _ = read(&provider(&format!("{key}: {quoted}")));
            let _ = read(&provider(&format!("{key}: {value}")));
        }
    }
}
