//! A real Prometheus scrapes the server's `/metrics`, and promtool checks the page.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use telemetry_tests::{Client, Server, Settings, empty_folder, eventually};

use crate::peers::{Prometheus, documented_queries, install, value};

/// Queries and the values that the logged events must lead to, by label.
const QUERIES: [(&str, &[(&str, f64)]); 6] = [
    ("sum(llama_stack_tokens_total)", &[("", 52.0)]),
    ("sum by (model_id) (llama_stack_tokens_total)", &[("large", 10.0), ("small", 42.0)]),
    ("llama_stack_request_duration_seconds", &[("inference", 0.5)]),
    ("queue_depth", &[("", 2.5)]),
    ("telemetry_sink_signals_total{outcome=\"delivered\"}", &[("sqlite", 6.0)]),
    ("telemetry_sink_pending", &[("sqlite", 0.0)]),
];

pub(super) fn run() -> Result<()> {
    let folder = empty_folder("prometheus")?;
    let server = Settings::sqlite_in(&folder).start()?;
    log_events(&server)?;
    check_page(&server)?;
    let prometheus = scrape(&server, &folder)?;
    for (query, expected) in QUERIES {
        let found = eventually(&format!("Prometheus answers {expected:?} to {query}"), || {
            let found = query_by_label(&prometheus, query).ok()?;
            (found == expected.iter().map(|(label, value)| ((*label).to_owned(), *value)).collect::<Vec<_>>())
                .then_some(found)
        });
        let last = query_by_label(&prometheus, query);
        found.with_context(|| format!("the last answer was {last:?}"))?;
    }
    // A rate needs a second request.
    eventually("there is a rate of tokens", || {
        log_events(&server).ok()?;
        let rate = query_by_label(&prometheus, "sum(rate(llama_stack_tokens_total[1m]))").ok()?;
        rate.first().filter(|(_, rate)| *rate > 0.0).map(drop)
    })?;
    // Prometheus must accept every documented query, whatever it returns here.
    let documented = documented_queries()?;
    for query in &documented {
        query_by_label(&prometheus, query)?;
    }
    println!(
        "Prometheus scraped the server: {} queries correct, {} documented queries accepted, promtool satisfied",
        QUERIES.len() + 1,
        documented.len()
    );
    server.stop_cleanly()
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

/// Checks that promtool reads the whole page and prints nothing.
fn check_page(server: &Server) -> Result<()> {
    let promtool = install::promtool()?;
    let page = Client::connect(server.url())?.get("/metrics")?;
    ensure!(page.status == 200, "/metrics answers {}", page.status);
    let mut check = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", promtool.display()))?;
    std::io::Write::write_all(&mut check.stdin.take().context("stdin is piped")?, &page.body)?;
    let output = check.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool printed:\n{said}\n{}", page.text());
    Ok(())
}

/// Starts a Prometheus that scrapes the server every second.
fn scrape(server: &Server, folder: &Path) -> Result<Prometheus> {
    let target = server.url().trim_start_matches("http://");
    let config = folder.join("prometheus.yaml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: telemetry\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(&config, text)?;
    Prometheus::start(&config, folder)
}

/// Runs an instant query. Returns each value with the label that distinguishes it, sorted.
fn query_by_label(prometheus: &Prometheus, query: &str) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for sample in prometheus.series(query)? {
        let labels = &sample["metric"];
        let label = ["model_id", "sink", "api"].iter().find_map(|name| labels[*name].as_str());
        found.push((label.unwrap_or_default().to_owned(), value(&sample)?));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}
