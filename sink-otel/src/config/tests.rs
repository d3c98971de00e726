//! One test per option: the configuration wins over the environment, the environment over the default.

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use telemetry_core::{Entry, Location, OptionError, OptionValue, Options};

use super::{Compression, Config, GenAiVersion, MetricConfig, SignalKind};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn options(pairs: Pairs<'_>) -> Options {
    let entry = |(key, value): &(&str, &str)| {
        let location = Location { path: (*key).to_owned(), ..Location::default() };
        ((*key).to_owned(), Entry { value: OptionValue::Text((*value).to_owned()), location })
    };
    Options::new(pairs.iter().map(entry).collect())
}

fn lookup(environment: Pairs<'_>) -> impl Fn(&str) -> Option<String> + Send + Sync {
    let all: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn read(signal: SignalKind, given: Pairs<'_>, environment: Pairs<'_>) -> Result<Config, OptionError> {
    Config::read(&options(given), &lookup(environment), signal)
}

fn traces(given: Pairs<'_>, environment: Pairs<'_>) -> Config {
    read(SignalKind::Traces, given, environment).unwrap()
}

fn failure(given: Pairs<'_>, environment: Pairs<'_>) -> String {
    read(SignalKind::Traces, given, environment).unwrap_err().to_string()
}

fn metrics(given: Pairs<'_>, environment: Pairs<'_>) -> Result<MetricConfig, OptionError> {
    MetricConfig::read(&options(given), &lookup(environment))
}

#[test]
fn the_default_is_a_collector_on_this_machine() {
    let config = traces(&[], &[]);
    assert_eq!(config.endpoint.full_url(), "http://localhost:4318/v1/traces");
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!(config.compression, Compression::None);
    assert!(config.headers.0.is_empty());
    assert_eq!(config.worker.spool, None);
    let config = metrics(&[], &[]).unwrap();
    assert_eq!(config.interval, Duration::from_secs(60));
    assert_eq!(config.temporality, Temporality::Cumulative);
    assert_eq!(config.cardinality_limit, 2_000);
    assert_eq!(config.histograms, None);
}

#[test]
fn the_endpoint_is_a_base_url() {
    let cases = [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp//", "https://c/otlp/v1/traces"),
        ("http://c:4318/v1/metrics", "http://c:4318/v1/traces"),
    ];
    for (given, url) in cases {
        assert_eq!(traces(&[("endpoint", given)], &[]).endpoint.full_url(), url);
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", given)];
        assert_eq!(traces(&[], &environment).endpoint.full_url(), url);
    }
}

#[test]
fn the_endpoint_of_one_signal_is_a_full_url() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m/here"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l"),
    ];
    let url = |signal| read(signal, &[], &environment).unwrap().endpoint.full_url();
    assert_eq!(url(SignalKind::Traces), "http://t/");
    assert_eq!(url(SignalKind::Metrics), "http://m/here");
    assert_eq!(url(SignalKind::Logs), "http://l/");
    let given = traces(&[("endpoint", "http://given")], &environment);
    assert_eq!(given.endpoint.full_url(), "http://given/v1/traces");
}

#[test]
fn an_invalid_url_is_an_error_that_hides_the_password() {
    for wrong in ["localhost:4318", "ftp://c", "http://", "collector", "unix:/tmp/x"] {
        let message = failure(&[("endpoint", wrong)], &[]);
        assert!(message.starts_with("endpoint: expected a URL like `http://localhost:4318`"), "{message}");
    }
    let message = failure(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "gopher://me:hush@c")]);
    assert!(message.starts_with("endpoint (from $OTEL_EXPORTER_OTLP_ENDPOINT): "), "{message}");
    assert!(!message.contains("hush"), "{message}");
    let config = traces(&[("endpoint", "http://me:hush@c:1")], &[]);
    assert_eq!(
        format!("{:?} {}", config.endpoint, config.endpoint),
        "http://c:1/v1/traces http://c:1/v1/traces"
    );
}

#[test]
fn headers_are_read_and_their_values_are_hidden() {
    let all = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush,tenant=t")];
    let config = traces(&[], &all);
    assert_eq!(config.headers.0["authorization"], "Bearer hush");
    assert_eq!(config.headers.0["tenant"], "t");
    assert!(!format!("{config:?}").contains("hush"));
    let own = [all[0], ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "tenant=own")];
    let config = traces(&[], &own);
    assert_eq!((config.headers.0.len(), config.headers.0["tenant"].to_str().unwrap()), (1, "own"));
    let config = traces(&[("headers", "tenant=given")], &own);
    assert_eq!(config.headers.0["tenant"], "given");
    let entry = Entry { value: OptionValue::Text("plain%20".into()), location: Location::default() };
    let map = Options::from_pairs([("headers", OptionValue::Map(vec![("tenant".into(), entry)]))]);
    let config = Config::read(&map, &lookup(&own), SignalKind::Traces).unwrap();
    assert_eq!(config.headers.0["tenant"], "plain%20");
}

#[test]
fn malformed_headers_are_errors_that_hide_the_value() {
    for (given, environment) in [
        (&[("headers", "hush")] as Pairs<'_>, &[] as Pairs<'_>),
        (&[], &[("OTEL_EXPORTER_OTLP_HEADERS", "hush")]),
        (&[("headers", "na me=hush")], &[]),
        (&[("headers", "name=hush%0a")], &[]),
    ] {
        let message = failure(given, environment);
        assert!(message.starts_with("headers"), "{message}");
        assert!(!message.contains("hush"), "{message}");
    }
}

#[test]
fn time_outs_are_milliseconds_in_the_environment() {
    let all = [("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")];
    assert_eq!(traces(&[], &all).timeout, Duration::from_millis(2_500));
    let own = [all[0], ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7")];
    assert_eq!(traces(&[], &own).timeout, Duration::from_millis(7));
    assert_eq!(traces(&[("timeout", "3s")], &own).timeout, Duration::from_secs(3));
}

#[test]
fn a_bad_time_out_is_an_error() {
    for wrong in ["0", "-1", "10s", "soon", "1.5"] {
        let message = failure(&[], &[("OTEL_EXPORTER_OTLP_TIMEOUT", wrong)]);
        let expected = format!(
            "timeout (from $OTEL_EXPORTER_OTLP_TIMEOUT): expected a whole number of milliseconds, at least 1, found `{wrong}`"
        );
        assert_eq!(message, expected);
    }
    assert!(failure(&[("timeout", "0s")], &[]).starts_with("timeout: "));
}

#[test]
fn compression_is_none_gzip_or_zstd() {
    let all = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    assert_eq!(traces(&[], &all).compression, Compression::Gzip);
    let own = [all[0], ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "ZSTD")];
    assert_eq!(traces(&[], &own).compression, Compression::Zstd);
    assert_eq!(traces(&[("compression", "none")], &own).compression, Compression::None);
    let message = failure(&[], &[("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")]);
    assert!(message.contains("expected one of none, gzip, zstd, found `brotli`"), "{message}");
}

#[test]
fn an_unsupported_protocol_is_an_error_that_names_the_supported_one() {
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        for wrong in ["grpc", "http/json"] {
            let message = failure(&[], &[(name, wrong)]);
            let expected =
                format!("protocol (from ${name}): `{wrong}` is not supported; set `http/protobuf`");
            assert!(message.starts_with(&expected), "{message}");
        }
        traces(&[], &[(name, "http/protobuf")]);
        traces(&[("protocol", "http/protobuf")], &[(name, "grpc")]);
    }
    assert!(failure(&[("protocol", "grpc")], &[]).starts_with("protocol: `grpc` is not supported"));
    let own =
        [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")];
    traces(&[], &own);
}

#[test]
fn certificates_are_files() {
    let all = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/me.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/me.key"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/t.key"),
    ];
    let config = traces(&[("ca_certificate", "/given.pem")], &all);
    assert_eq!(config.tls.ca, Some("/given.pem".into()));
    assert_eq!(config.tls.client_certificate, Some("/me.pem".into()));
    assert_eq!(config.tls.client_key, Some("/t.key".into()));
    assert_eq!(traces(&[], &all).tls.ca, Some("/ca.pem".into()));
    assert!(failure(&[("client_key", "/x")], &[]).starts_with("client_certificate: "));
}

#[test]
fn resource_attributes_of_both_sources_are_merged() {
    let environment = [("OTEL_RESOURCE_ATTRIBUTES", "zone=eu,host.name=a%20b,zone=us")];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(traces(&[], &environment).resource_attributes, [pair("host.name", "a b"), pair("zone", "us")]);
    let entry = Entry { value: OptionValue::Text("given".into()), location: Location::default() };
    let given =
        Options::from_pairs([("resource_attributes", OptionValue::Map(vec![("zone".into(), entry)]))]);
    let config = Config::read(&given, &lookup(&environment), SignalKind::Logs).unwrap();
    assert_eq!(config.resource_attributes, [pair("host.name", "a b"), pair("zone", "given")]);
    let message = failure(&[], &[("OTEL_RESOURCE_ATTRIBUTES", "zone")]);
    assert!(message.starts_with("resource_attributes (from $OTEL_RESOURCE_ATTRIBUTES): "), "{message}");
}

#[test]
fn the_metric_interval_is_milliseconds_in_the_environment() {
    let environment = [("OTEL_METRIC_EXPORT_INTERVAL", "1500")];
    assert_eq!(metrics(&[], &environment).unwrap().interval, Duration::from_millis(1_500));
    assert_eq!(metrics(&[("interval", "5s")], &environment).unwrap().interval, Duration::from_secs(5));
    let error = metrics(&[], &[("OTEL_METRIC_EXPORT_INTERVAL", "often")]).unwrap_err();
    assert!(error.to_string().starts_with("interval (from $OTEL_METRIC_EXPORT_INTERVAL): "));
}

#[test]
fn temporality_is_a_preference() {
    let environment = [("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta")];
    assert_eq!(metrics(&[], &environment).unwrap().temporality, Temporality::Delta);
    let given = metrics(&[("temporality", "lowmemory")], &environment).unwrap();
    assert_eq!(given.temporality, Temporality::LowMemory);
    assert!(metrics(&[], &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "x")]).is_err());
}

#[test]
fn histograms_have_a_version_of_the_conventions() {
    let on = Options::from_pairs([
        ("histograms", OptionValue::Flag(true)),
        ("gen_ai_version", OptionValue::Text("1.36".into())),
    ]);
    let config = MetricConfig::read(&on, &lookup(&[])).unwrap();
    assert_eq!(config.histograms, Some(GenAiVersion::V1_36));
}

#[test]
fn an_empty_variable_is_unset() {
    let environment = [("OTEL_EXPORTER_OTLP_TIMEOUT", " "), ("OTEL_EXPORTER_OTLP_PROTOCOL", "")];
    assert_eq!(traces(&[], &environment).timeout, Duration::from_secs(10));
}

#[test]
fn each_sink_has_its_own_folder_under_a_shared_spool_path() {
    let spool = traces(&[("spool_path", "/var/spool/telemetry")], &[]).worker.spool.unwrap();
    assert_eq!(spool.path, std::path::Path::new("/var/spool/telemetry/otel_trace"));
    assert_eq!(spool.max_bytes, 1 << 30);
}

#[test]
fn sizes_are_at_least_one() {
    let zero = Options::from_pairs([("request_size", OptionValue::Integer(0))]);
    let error = Config::read(&zero, &lookup(&[]), SignalKind::Traces).unwrap_err();
    assert_eq!(error.to_string(), "request_size: must be at least 1");
}
