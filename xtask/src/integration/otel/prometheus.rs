//! Prometheus, scraping the Collector.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;

use crate::command::run;
use crate::integration::parts;
use crate::integration::peers::{self, Process, documented_queries, series, value, wait_for};

/// The queries that must be right, as the documentation has them too.
const SUM: &str = "sum(llama_stack_tokens_total)";
const BY_MODEL: &str = "sum by (model_id) (llama_stack_tokens_total)";
const RATE: &str = "rate(llama_stack_tokens_total[5m])";

/// A running Prometheus.
#[derive(Debug)]
pub(super) struct Prometheus {
    /// Ends with this.
    _process: Process,
    url: String,
}

impl Prometheus {
    pub(super) fn start(folder: &Path, target: &str) -> Result<Self> {
        let config = folder.join("prometheus.yaml");
        let text = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n  - job_name: collector\n    \
             honor_labels: true\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        std::fs::write(&config, text)?;
        run(Command::new(parts::promtool()?).args(["check", "config", "--syntax-only"]).arg(&config))?;
        let (process, url) = peers::prometheus(&parts::prometheus()?, &config, folder)?;
        Ok(Self { _process: process, url })
    }

    /// Waits until it shows what was logged so far.
    pub(super) fn wait_for_sum(&self, logged: &Json) -> Result<()> {
        let expected: f64 = by_model(logged)?.values().sum();
        wait_for(&format!("Prometheus says that {SUM} is {expected}"), || {
            let sum = self.query(SUM).ok()?;
            (sum.values().copied().next() == Some(expected)).then_some(())
        })
    }

    /// The queries return the numbers logged.
    pub(super) fn check(&self, logged: &Json, earlier: &Json) -> Result<()> {
        let documented = documented_queries()?;
        for query in [SUM, BY_MODEL, RATE] {
            ensure!(documented.iter().any(|known| known == query), "docs/promql.md does not show {query}");
        }
        self.wait_for_sum(logged)?;
        let (expected, earlier) = (by_model(logged)?, by_model(earlier)?);
        let found = self.query(BY_MODEL)?;
        ensure!(found == expected, "{BY_MODEL}: {found:?}, but logged was {expected:?}");
        let rates = self.query(RATE)?;
        ensure!(rates.len() == expected.len(), "{RATE}: {rates:?}");
        for (model, rate) in &rates {
            // Prometheus extrapolates the increase it saw to the ends of its window, by a scrape or so.
            let seen = expected[model] - earlier[model];
            let increase = rate * 300.0;
            ensure!(
                increase >= seen * 0.99 && increase <= seen * 2.0,
                "{RATE} for {model}: {rate}, increase {seen}"
            );
        }
        // Every documented query is one that Prometheus takes.
        for query in &documented {
            self.query(query).with_context(|| format!("docs/promql.md: {query}"))?;
        }
        println!(
            "ok   Prometheus answers the sum, the sum and the rate by model as logged, and takes all {} documented queries",
            documented.len()
        );
        Ok(())
    }

    /// The value of each series, by its `model_id`.
    fn query(&self, query: &str) -> Result<BTreeMap<String, f64>> {
        let values = series(&self.url, query)?.into_iter().map(|series| {
            let model = series["metric"]["model_id"].as_str().unwrap_or_default().to_owned();
            Ok((model, value(&series)?))
        });
        values.collect()
    }
}

/// All tokens, by model.
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
