//! Metric queries over a million points, and over a window of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use telemetry_core::query::{Aggregation, MetricQuery, QueryType};
use telemetry_core::{Event, Submission, Timestamp, Ttl, Value, attrs};
use telemetry_pipeline::Telemetry;
use tokio::runtime::Runtime;

use super::samples::{AT_ONCE, BATCH, FIRST_TIME, submit_all};
use crate::figures::line;

/// Nanoseconds from one point to the next.
const STEP: i64 = 1_000_000_000;
const MODELS: [&str; 4] = ["a", "b", "c", "d"];
const METRIC: &str = "llama_stack_tokens_total";

/// Returns metric point `number`.
fn point(number: usize) -> Submission {
    let labels = attrs! { "model_id" => Value::from(MODELS[number % MODELS.len()]) };
    let time = Timestamp::from_nanos(FIRST_TIME + i64::try_from(number).unwrap_or(0) * STEP);
    let event = Event::metric(METRIC, i64::try_from(number % 4_096).unwrap_or(0), "tokens");
    Submission::Event { event: event.with_attributes(labels).at(time), ttl: Ttl::default() }
}

/// Stores `points` metric points of four series and queries them.
pub(super) fn run(telemetry: &Telemetry, runtime: &Runtime, points: usize) -> Result<()> {
    let mut took = Duration::ZERO;
    for from in (0..points).step_by(AT_ONCE) {
        let to = points.min(from + AT_ONCE);
        let requests: Vec<_> =
            (from..to).step_by(BATCH).map(|from| (from..to.min(from + BATCH)).map(point).collect()).collect();
        took += submit_all(telemetry, requests)?;
    }
    println!("\n{points} measurements, stored at {:.0}/s; medians", points as f64 / took.as_secs_f64());
    let store = telemetry.store().context("sqlite is a store")?;
    let ask = |what: &str, seconds: usize, aggregation, promise: f64| -> Result<()> {
        let query = MetricQuery {
            metric: METRIC.into(),
            start: Timestamp::from_nanos(FIRST_TIME),
            end: Timestamp::from_nanos(FIRST_TIME + i64::try_from(seconds)? * STEP - 1),
            granularity: Some("1h".parse()?),
            query_type: QueryType::Range,
            matchers: Vec::new(),
            aggregation,
        };
        let mut times = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            let series = runtime.block_on(store.query_metrics(query.clone()))?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            ensure!(series.len() == MODELS.len(), "{} series", series.len());
        }
        times.sort_by(f64::total_cmp);
        line(what, times[2], "ms", "promise", promise);
        Ok(())
    };
    ask("all points, 1 h steps, sums (reference 357 at 100k)", points, None, 200.0)?;
    ask("the latest of each step", points, Some(Aggregation::Last), 200.0)?;
    ask("a hundredth of the points", points / 100, None, 20.0)
}
