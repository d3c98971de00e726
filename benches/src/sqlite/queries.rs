//! Queries as the store grows: each beside its promise and what others take, then the curve.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use telemetry_core::query::{Filter, FilterOp, LogQuery, TraceQuery, TreeQuery};
use telemetry_core::{SpanId, Timestamp, TraceId, TraceStore, Value};

use super::samples::{FIRST_TIME, LARGE, TRACE, root, sample};
use crate::figures::line;

/// Logs in the queried window, one per millisecond.
const WINDOW: usize = 1_000;

/// The time of each query at every size of the store.
#[derive(Default)]
pub(super) struct Curve(Vec<(&'static str, Vec<f64>)>);

impl Curve {
    fn add(&mut self, question: &'static str, took: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == question) {
            Some((_, times)) => times.push(took),
            None => self.0.push((question, vec![took])),
        }
    }

    /// Prints a line per query and a column per size.
    pub(super) fn print(&self, sizes: &[usize]) {
        let cells =
            |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>12}")).collect::<Vec<_>>().concat();
        println!("\nthe curve, ms{:<45}{}", "", cells(sizes.iter().map(ToString::to_string).collect()));
        for (question, times) in &self.0 {
            println!("{question:<58}{}", cells(times.iter().map(|took| format!("{took:.2}")).collect()));
        }
    }
}

/// The promise for a query at this size, and the figure of another product.
struct Anchor {
    promise: f64,
    others: &'static str,
}

/// Runs a query several times. Prints the median in milliseconds beside its promise and adds it to the curve.
async fn timed<T>(
    curve: &mut Curve,
    question: &'static str,
    anchor: Anchor,
    ask: impl AsyncFn() -> Result<T>,
) -> Result<()> {
    let mut took = Vec::new();
    let started = Instant::now();
    while took.len() < 9 && (took.len() < 3 || started.elapsed() < Duration::from_secs(2)) {
        let started = Instant::now();
        ask().await?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let median = took[took.len() / 2];
    line(&format!("{question}{}", anchor.others), median, "ms", "promise", anchor.promise);
    curve.add(question, median);
    Ok(())
}

/// Returns how many traces match.
async fn traces(store: &dyn TraceStore, filters: Vec<Filter>) -> Result<usize> {
    let query = TraceQuery { filters, ..TraceQuery::default() };
    let pages: Vec<_> = store.query_traces(query).try_collect().await?;
    Ok(pages.iter().map(Vec::len).sum())
}

fn filter(key: &str, op: FilterOp, value: impl Into<Value>) -> Vec<Filter> {
    vec![Filter { key: key.into(), op, value: value.into() }]
}

/// Queries a store of `spans` spans. The promises are for 1M spans, or for 10M if there are more.
pub(super) async fn ask(store: &dyn TraceStore, file: &Path, spans: usize, curve: &mut Curve) -> Result<()> {
    println!("\nat {spans} spans, medians; the reference's figures are its own, at 1M spans");
    let by = |promise, others| Anchor { promise, others };
    let found = if spans > 1_000_000 { 150.0 } else { 15.0 };
    let newest = async || traces(store, Vec::new()).await;
    timed(curve, "newest 100 traces", by(5.0, " (reference 1,841)"), newest).await?;
    let middle = sample(root(spans / 2));
    let trace = TraceId::from_u128(middle.trace).context("not zero")?;
    let by_id = async || store.get_trace(trace).await?.context("the trace is there");
    timed(curve, "a trace by id", by(1.0, " (reference 2.4)"), by_id).await?;
    let tree = TreeQuery {
        span_id: SpanId::from_u64(middle.id).context("not zero")?,
        trace_id: Some(trace),
        max_depth: None,
    };
    let by_trace = async || store.span_tree(tree.clone()).await?.context("the tree is there");
    timed(curve, "a tree of 10 spans", by(20.0, ""), by_trace).await?;
    let large = sample(LARGE);
    let large = TreeQuery {
        span_id: SpanId::from_u64(large.id).context("not zero")?,
        trace_id: None,
        max_depth: None,
    };
    let large_tree = async || {
        let tree = store.span_tree(large.clone()).await?.context("the tree is there")?;
        ensure!(tree.nodes.len() == LARGE, "{} spans", tree.nodes.len());
        Ok(())
    };
    timed(curve, "a tree of 1,000 spans, by span id alone", by(20.0, " (reference 14,213)"), large_tree)
        .await?;
    let session = format!("session-{:012}", middle.session);
    let selective = async || {
        let found = traces(store, filter("session_id", FilterOp::Eq, session.clone())).await?;
        ensure!(found == 100 / TRACE, "{found} traces");
        Ok(())
    };
    let others = if spans > 1_000_000 { " (Jaeger, ClickHouse 1,769)" } else { " (reference 1,208)" };
    timed(curve, "selective equality", by(found, others), selective).await?;
    let none = async || {
        ensure!(traces(store, filter("session_id", FilterOp::Eq, "nowhere")).await? == 0);
        Ok(())
    };
    timed(curve, "no match", by(found, ""), none).await?;
    let model = "meta-llama/Llama-3.2-3B-Instruct";
    let broad = async || {
        ensure!(traces(store, filter("model_id", FilterOp::Eq, model)).await? == 100);
        Ok(())
    };
    timed(curve, "broad equality, newest 100", by(found, ""), broad).await?;
    let slow = async || {
        ensure!(traces(store, filter("duration_ms", FilterOp::Gt, 1_000)).await? == 0);
        Ok(())
    };
    timed(curve, "no span longer than a second", by(found, ""), slow).await?;
    let start = FIRST_TIME + i64::try_from(spans / 2)? * 1_000_000;
    let window = LogQuery {
        start: Some(Timestamp::from_nanos(start)),
        end: Some(Timestamp::from_nanos(start + i64::try_from(WINDOW)? * 1_000_000)),
        limit: None,
        ..LogQuery::default()
    };
    let logs = async || {
        let pages: Vec<_> = store.query_logs(window.clone()).try_collect().await?;
        let found: usize = pages.iter().map(Vec::len).sum();
        ensure!(found == WINDOW, "{found} logs");
        Ok(())
    };
    timed(curve, "1,000 logs of a window", by(20.0, ""), logs).await?;
    let db = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = async || {
        let mut statement = db.prepare("SELECT count(*), max(attributes) FROM spans WHERE trace_id = ?")?;
        let found: i64 = statement.query_row([trace.to_string()], |row| row.get(0))?;
        ensure!(usize::try_from(found)? == TRACE, "{found} rows");
        Ok(())
    };
    timed(curve, "spans of a trace, plain SQL", by(50.0, ""), sql).await
}

/// Returns the bytes of the database, with its write-ahead log.
pub(super) fn file_size(file: &Path) -> Result<f64> {
    let db = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let pages: i64 =
        db.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
            row.get(0)
        })?;
    Ok(pages as f64)
}
