//! `telemetry check` and `telemetry serve` agree on what is valid.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use telemetry_tests::build;

const PROVIDER: &str =
    "telemetry:\n- provider_id: meta-reference\n  provider_type: inline::meta-reference\n  config:\n    ";

fn run(folder: &std::path::Path, arguments: &[&str]) -> Output {
    // A server that starts although it should not is ended.
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(build().unwrap())
        .args(arguments)
        .env("SQLITE_STORE_DIR", folder)
        .env_remove("TELEMETRY_SINKS");
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn what_serve_refuses_check_refuses_with_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("telemetry.yaml");
    let cases = [
        ("{sinks: [sqlite], sqlite: {readers: 0}}", "", "must be at least 1"),
        ("{sinks: [otel_trace], otel_trace: {batch_size: 0}}", "", "batch_size"),
        ("{sinks: [otel_trace], otel_exporter_otlp_endpoint: localhost}", "", "expected a URL"),
        (
            "{sinks: [otel_log], otel_log: {endpoint: 'https://localhost:4318', ca_certificate: /nowhere/ca.pem}}",
            "",
            "/nowhere/ca.pem",
        ),
        ("{sinks: [otel_metric], otel_metric: {interval: 0s}}", "", "interval"),
        ("{sinks: [sqlite]}", "server: {listen: '0.0.0.0:8322'}", "no token is required"),
        ("{sinks: [sqlite]}", "server: {tokens: ['']}", "the token is empty"),
        ("{sinks: [sqlite]}", "server: {tokens: [{token: a, scopes: [telemetry.read]}, a]}", "listed twice"),
        (
            "{sinks: [otel_trace], otel_exporter_otlp_endpoint: 'http://[::ffff:127.0.0.1]:8322'}",
            "",
            "endless loop",
        ),
    ];
    for (config, server, words) in cases {
        let text = PROVIDER.replace("config:\n    ", &format!("config: {config}\n{server}\n"));
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        let [checked, served] = [&["check", path][..], &["serve", "--config", path]]
            .map(|arguments| run(folder.path(), arguments));
        let [check, serve] =
            [&checked, &served].map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(!served.status.success() && serve.contains(words), "{config} {server}: serve: {serve}");
        assert_eq!(checked.status.code(), Some(1), "{config} {server}: check: {check}");
        assert_eq!(check, serve, "{config} {server}");
    }
}

#[test]
fn a_password_in_a_url_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("telemetry.yaml");
    let config =
        "sinks: [otel_trace]\n    otel_exporter_otlp_endpoint: http://user:hush@collector:4318/base\n";
    std::fs::File::create(&file).unwrap().write_all(format!("{PROVIDER}{config}").as_bytes()).unwrap();
    let output = run(folder.path(), &["check", file.to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("http://***@collector:4318/base"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!printed.contains("hush"), "{printed}");
}
