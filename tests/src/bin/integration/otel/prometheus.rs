//! A Prometheus that scrapes the Collector.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;

use crate::peers::{Prometheus, documented_queries, install, value, wait_for};

/// The queries whose results are checked. The documentation shows them, too.
const SUM: &str = "sum(llama_stack_tokens_total)";
const BY_MODEL: &str = "sum by (model_id) (llama_stack_tokens_total)";
const RATE: &str = "rate(llama_stack_tokens_total[5m])";

/// The metrics that a Collector exposes, as Prometheus shows them.
#[derive(Debug)]
pub(super) struct CollectorMetrics(Prometheus);

impl CollectorMetrics {
    /// Starts a Prometheus that scrapes the Collector at `target`.
    pub(super) fn start(folder: &Path, target: &str) -> Result<Self> {
        let config = folder.join("prometheus.yaml");
        let text = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n  - job_name: collector\n    \
             honor_labels: true\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        std::fs::write(&config, text)?;
        let mut check = Command::new(install::promtool()?);
        telemetry_tests::run(check.args(["check", "config", "--syntax-only"]).arg(&config))?;
        Ok(Self(Prometheus::start(&config, folder)?))
    }

    /// Waits until the sum of all tokens is what was logged so far.
    pub(super) fn wait_for_sum(&self, logged: &Json) -> Result<()> {
        let expected: f64 = by_model(logged)?.values().sum();
        wait_for(&format!("Prometheus returns {expected} for {SUM}"), || {
            let sum = self.query(SUM).ok()?;
            (sum.values().copied().next() == Some(expected)).then_some(())
        })
    }

    /// Checks that the queries return what was logged, and that Prometheus accepts every documented query.
    pub(super) fn check(&self, logged: &Json, earlier: &Json) -> Result<()> {
        let documented = documented_queries()?;
        for query in [SUM, BY_MODEL, RATE] {
            ensure!(documented.iter().any(|known| known == query), "docs/promql.md does not show {query}");
        }
        self.wait_for_sum(logged)?;
        let (expected, earlier) = (by_model(logged)?, by_model(earlier)?);
        let found = self.query(BY_MODEL)?;
        ensure!(found == expected, "{BY_MODEL} returns {found:?}; expected {expected:?}");
        let rates = self.query(RATE)?;
        ensure!(rates.len() == expected.len(), "{RATE}: {rates:?}");
        for (model, rate) in &rates {
            // Prometheus extrapolates the increase to the ends of its window, by about a scrape.
            let seen = expected[model] - earlier[model];
            let increase = rate * 300.0;
            ensure!(
                increase >= seen * 0.99 && increase <= seen * 2.0,
                "{RATE} for {model}: {rate}, increase {seen}"
            );
        }
        for query in &documented {
            self.query(query).with_context(|| format!("docs/promql.md: {query}"))?;
        }
        println!(
            "ok   Prometheus returns the sum, and the sum and the rate by model, as logged, and accepts all {} documented queries",
            documented.len()
        );
        Ok(())
    }

    /// Returns the value of each series by its `model_id`.
    fn query(&self, query: &str) -> Result<BTreeMap<String, f64>> {
        let values = self.0.series(query)?.into_iter().map(|series| {
            let model = series["metric"]["model_id"].as_str().unwrap_or_default().to_owned();
            Ok((model, value(&series)?))
        });
        values.collect()
    }
}

/// Returns the sum of all tokens by model.
fn by_model(logged: &Json) -> Result<BTreeMap<String, f64>> {
    let series = logged["llama_stack_tokens_total"].as_object().context("tokens were logged")?;
    let mut models = BTreeMap::new();
    for (labels, value) in series {
        let labels: Json = serde_json::from_str(labels)?;
        let model = labels["model_id"].as_str().context("a model")?.to_owned();
        *models.entry(model).or_default() += value.as_f64().context("a number")?;
    }
    Ok(models)
}
