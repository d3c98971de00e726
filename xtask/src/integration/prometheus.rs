//! A real Prometheus scrapes the server's `/metrics`, and promtool finds nothing to complain about.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, eventually, target_dir};

use super::parts;
use super::peers::{self, Process};

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
    let (prometheus, promtool) = (parts::prometheus()?, parts::promtool()?);
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
    let documented = peers::documented_queries()?;
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

/// A running Prometheus.
struct Prometheus {
    /// Ends with this.
    _process: Process,
    url: String,
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
        let (process, url) = peers::prometheus(program, &config, folder)?;
        Ok(Self { _process: process, url })
    }

    /// The answer to an instant query: a value per label that tells the samples apart, in order.
    fn ask(&self, query: &str) -> Result<Vec<(String, f64)>> {
        let mut found = Vec::new();
        for sample in peers::series(&self.url, query)? {
            let labels = &sample["metric"];
            let label = ["model_id", "sink", "api"].iter().find_map(|name| labels[*name].as_str());
            found.push((label.unwrap_or_default().to_owned(), peers::value(&sample)?));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }
}
