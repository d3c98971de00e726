//! A real Prometheus scrapes the server's `/metrics`, and promtool finds nothing to complain about.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, eventually, target_dir};

use crate::command::{self, root};

/// What the queries must answer about the events that are logged: query, and value by label.
const QUERIES: [(&str, &[(&str, f64)]); 6] = [
    ("sum(llama_stack_tokens_total)", &[("", 52.0)]),
    ("sum by (model_id) (llama_stack_tokens_total)", &[("large", 10.0), ("small", 42.0)]),
    ("llama_stack_request_duration_seconds", &[("inference", 0.5)]),
    ("queue_depth", &[("", 2.5)]),
    ("telemetry_sink_signals_total{outcome=\"delivered\"}", &[("sqlite", 6.0)]),
    ("telemetry_sink_pending", &[("sqlite", 0.0)]),
];

pub(crate) fn run() -> Result<()> {
    let (prometheus, promtool) = (program("prometheus")?, program("promtool")?);
    let folder = target_dir().join("integration/prometheus");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let server = Settings::sqlite_in(&folder).start()?;
    log_events(&server)?;
    lint(&promtool, &server)?;
    let scraping = Prometheus::start(&prometheus, &folder, &server)?;
    for (query, expected) in QUERIES {
        let found = eventually(&format!("Prometheus answers {expected:?} to {query}"), || {
            let found = scraping.ask(query).ok()?;
            (found == expected.iter().map(|(label, value)| ((*label).to_owned(), *value)).collect::<Vec<_>>())
                .then_some(found)
        });
        let last = scraping.ask(query);
        found.with_context(|| format!("the last answer was {last:?}"))?;
    }
    // A second request, so that there is a rate.
    eventually("there is a rate of tokens", || {
        log_events(&server).ok()?;
        let rate = scraping.ask("sum(rate(llama_stack_tokens_total[1m]))").ok()?;
        rate.first().filter(|(_, rate)| *rate > 0.0).map(drop)
    })?;
    // The documented ones, whatever they answer here.
    let page = std::fs::read_to_string(root().join("docs/promql.md"))?;
    let documented: Vec<&str> =
        page.split("```promql\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    ensure!(documented.len() > 5, "docs/promql.md has {} queries", documented.len());
    for query in &documented {
        scraping.ask(query)?;
    }
    println!(
        "Prometheus scraped the server: {} queries right, {} documented ones run, promtool content",
        QUERIES.len() + 1,
        documented.len()
    );
    let ended = server.stop()?;
    ensure!(ended.status.success(), "the server ended with {}:\n{}", ended.status, ended.stderr);
    Ok(())
}

fn log_events(server: &Server) -> Result<()> {
    let metric = |name: &str, value: Value, unit: &str, labels: Value| {
        json!({"event": {"type": "metric", "metric": name, "value": value, "unit": unit,
                         "timestamp": "2026-03-01T12:00:00Z", "attributes": labels}})
    };
    let model = |model: &str| json!({"model_id": model, "provider_id": "p"});
    let api = json!({"api": "inference", "status": "200"});
    let events = [
        metric("total_tokens", json!(42), "tokens", model("small")),
        metric("llama_stack_tokens_total", json!(10), "tokens", model("large")),
        metric("llama_stack_requests_total", json!(1), "requests", api.clone()),
        metric("llama_stack_request_duration_seconds", json!(0.5), "seconds", api),
        metric("llama_stack_concurrent_requests", json!(1), "requests", json!({"api": "inference"})),
        metric("queue.depth", json!(2.5), "1", json!({})),
    ];
    let mut client = Client::connect(server.url())?;
    let answer = client.post("/v1/telemetry/events", &json!({"events": events}))?;
    ensure!(answer.json()["accepted"] == 6, "{}", answer.text());
    Ok(())
}

/// promtool reads the whole page without a complaint.
fn lint(promtool: &Path, server: &Server) -> Result<()> {
    let page = Client::connect(server.url())?.get("/metrics")?;
    ensure!(page.status == 200, "/metrics answers {}", page.status);
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", promtool.display()))?;
    std::io::Write::write_all(&mut check.stdin.take().context("stdin is piped")?, &page.body)?;
    let output = check.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool says:\n{said}\n{}", page.text());
    Ok(())
}

/// A running Prometheus; ended when dropped.
struct Prometheus {
    child: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(program: &Path, folder: &Path, server: &Server) -> Result<Self> {
        let target = server.url().trim_start_matches("http://");
        let config = folder.join("prometheus.yaml");
        std::fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: telemetry\n  static_configs: [{{targets: ['{target}']}}]\n"
            ),
        )?;
        // Free a moment ago; nobody else is told of it.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::create(folder.join("prometheus.log"))?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        Ok(Self { child, url: format!("http://{address}") })
    }

    /// The answer to an instant query: a value per label that tells the samples apart, in order.
    fn ask(&self, query: &str) -> Result<Vec<(String, f64)>> {
        let mut path = String::from("/api/v1/query?query=");
        for byte in query.bytes() {
            write!(path, "%{byte:02x}")?;
        }
        let answer = Client::connect(&self.url)?.get(&path)?.json();
        let samples = answer["data"]["result"].as_array();
        let samples = samples.with_context(|| format!("no result for {query}: {answer}"))?;
        let mut found = Vec::new();
        for sample in samples {
            let labels = &sample["metric"];
            let label = ["model_id", "sink", "api"].iter().find_map(|name| labels[*name].as_str());
            let value = sample["value"][1].as_str().and_then(|value| value.parse().ok());
            found.push((label.unwrap_or_default().to_owned(), value.context("no value")?));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }
}

/// A program of Debian's package `prometheus`: named by a variable like PROMTOOL, on the path, or unpacked
/// from the package into the target folder.
fn program(name: &str) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(name.to_uppercase()) {
        return Ok(named.into());
    }
    let starts = |program: &Path| Command::new(program).arg("--version").output().is_ok();
    if starts(Path::new(name)) {
        return Ok(name.into());
    }
    let folder = target_dir().join("integration/prometheus-package");
    let unpacked = folder.join("usr/bin").join(name);
    if !unpacked.exists() {
        std::fs::create_dir_all(&folder)?;
        command::run(Command::new("apt-get").args(["download", "prometheus"]).current_dir(&folder))
            .with_context(|| {
                format!("no `{name}` found; install Prometheus or name it in {}", name.to_uppercase())
            })?;
        let package = std::fs::read_dir(&folder)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get has downloaded no package")?;
        command::run(Command::new("dpkg").arg("-x").arg(package).arg(&folder))?;
    }
    if starts(&unpacked) { Ok(unpacked) } else { bail!("{} does not start", unpacked.display()) }
}
