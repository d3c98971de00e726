//! A running Prometheus, and the PromQL of the documentation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use telemetry_tests::root;

use super::install;
use super::process::{Process, encoded, free_port, get_json};

/// A running Prometheus. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Prometheus {
    _process: Process,
    url: String,
}

impl Prometheus {
    /// Starts Prometheus with a configuration file and keeps its data in `folder`.
    pub(crate) fn start(config: &Path, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(install::prometheus()?);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start("Prometheus", &mut command, &folder.join("prometheus.log"))?;
        Ok(Self { _process: process.wait_until_up(&url)?, url })
    }

    /// Runs an instant query and returns its series.
    pub(crate) fn series(&self, query: &str) -> Result<Vec<Json>> {
        let answer = get_json(&self.url, &format!("/api/v1/query?query={}", encoded(query)))?;
        Ok(answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?.clone())
    }
}

/// Returns the value of a series.
pub(crate) fn value(series: &Json) -> Result<f64> {
    let value = series["value"][1].as_str().and_then(|value| value.parse().ok());
    value.with_context(|| format!("no value in {series}"))
}

/// Returns the PromQL that the documentation shows.
pub(crate) fn documented_queries() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/promql.md"))?;
    let blocks = page.split("```promql\n").skip(1);
    let queries: Vec<String> =
        blocks.filter_map(|block| block.split("\n```").next()).map(str::to_owned).collect();
    ensure!(queries.len() > 5, "docs/promql.md has {} queries; expected more than 5", queries.len());
    Ok(queries)
}
