//! Where a fixed case plays: a store, and short questions to it.

use std::sync::Arc;

use telemetry_core::query::{
    Filter, FilterOp, LogQuery, MetricQuery, Order, QueryType, SpanQuery, TraceQuery, TreeQuery,
};
use telemetry_core::{LogBody, LogRecord, QueryError, Signal, Span, SpanState, Timestamp, TraceStore, Value};

use super::collect;
use crate::signals::{key, span_id};
use crate::{Driver, Harness};

/// A store under test, with short questions. Answers come as numbers and short texts, so that a case
/// shows what it expects in one line.
#[derive(Debug)]
pub struct Stage {
    driver: Driver,
}

fn good<T>(answer: Result<T, QueryError>) -> T {
    answer.unwrap_or_else(|error| panic!("the store has no answer: {error}"))
}

impl Stage {
    /// An empty store.
    ///
    /// # Panics
    ///
    /// When the sink can't be built.
    pub async fn of(harness: &impl Harness) -> Self {
        match harness.build().await {
            Ok(built) => Self { driver: Driver::new(built) },
            Err(error) => panic!("the sink can't be built: {}", error.full_text()),
        }
    }

    /// Stores a batch.
    ///
    /// # Panics
    ///
    /// When the sink fails.
    pub async fn write(&mut self, signals: impl IntoIterator<Item = Signal>) {
        if let Err(error) = self.driver.write(signals.into_iter().collect()).await {
            panic!("the sink fails: {}", error.full_text());
        }
    }

    /// The store.
    ///
    /// # Panics
    ///
    /// When the sink gave none.
    pub fn store(&self) -> Arc<dyn TraceStore> {
        self.driver.store().expect("a store kit needs a sink with a store")
    }

    /// The ids of the traces that answer the query, in order.
    pub async fn traces(&self, query: TraceQuery) -> Vec<u128> {
        let traces = good(collect(self.store().query_traces(query)).await);
        traces.iter().map(|trace| trace.trace_id.as_u128()).collect()
    }

    /// The ids of the traces on a span of which all filters hold, newest first.
    pub async fn traces_with(&self, filters: impl IntoIterator<Item = Filter>) -> Vec<u128> {
        self.traces(TraceQuery {
            filters: filters.into_iter().collect(),
            limit: None,
            ..TraceQuery::default()
        })
        .await
    }

    /// The ids of all traces in this order: `start_time`, `-duration_ms` and so on.
    ///
    /// # Panics
    ///
    /// For a word that is no column.
    pub async fn traces_by(&self, columns: &str) -> Vec<u128> {
        let order = columns.split(',').map(|word| {
            let column = word.trim_start_matches('-');
            Order { column: column.parse().expect("a column"), descending: word.starts_with('-') }
        });
        self.traces(TraceQuery { order: order.collect(), ..TraceQuery::default() }).await
    }

    /// A trace as `root start..end`, in milliseconds as the cases count them; `-` while there is no end.
    pub async fn trace(&self, id: u128) -> Option<String> {
        let trace = good(self.store().get_trace(crate::signals::trace_id(id)).await)?;
        let end = trace.end_time.map_or_else(|| "-".to_owned(), milliseconds);
        Some(format!("{} {}..{end}", trace.root_span_id.as_u64(), milliseconds(trace.start_time)))
    }

    /// A span with its events.
    pub async fn span(&self, trace: u128, span: u64) -> Option<Span> {
        good(self.store().get_span(key(trace, span)).await)
    }

    /// A span as `name state start..end {attributes}`.
    pub async fn span_text(&self, trace: u128, span: u64) -> Option<String> {
        self.span(trace, span).await.map(|span| span_text(&span))
    }

    /// A tree as `depth:span` pairs in order; `None` if the span is not there.
    pub async fn tree(&self, trace: Option<u128>, span: u64, max_depth: Option<u32>) -> Option<String> {
        let query =
            TreeQuery { span_id: span_id(span), trace_id: trace.map(crate::signals::trace_id), max_depth };
        let tree = good(self.store().span_tree(query).await)?;
        let nodes = tree.nodes.iter().map(|node| format!("{}:{}", node.depth, node.span.span_id.as_u64()));
        Some(nodes.collect::<Vec<_>>().join(" "))
    }

    /// Spans as `trace/span{attributes}`, in order.
    pub async fn spans(&self, query: SpanQuery) -> Vec<String> {
        let spans = good(collect(self.store().query_spans(query)).await);
        let text = |span: &Span| {
            let (trace, id) = (span.trace_id.as_u128(), span.span_id.as_u64());
            format!("{trace}/{id}{}", span.attributes.to_json())
        };
        spans.iter().map(text).collect()
    }

    /// The messages (or span events' names) of the logs that answer the query, in order.
    pub async fn logs(&self, query: LogQuery) -> Vec<String> {
        let logs = good(collect(self.store().query_logs(query)).await);
        logs.iter().map(|log| body_text(log).to_owned()).collect()
    }

    /// Series as `{labels} unit: time=value …`, in order of the text; times in seconds as the cases count them.
    pub async fn metrics(&self, query: MetricQuery) -> Vec<String> {
        let series = good(self.store().query_metrics(query).await);
        let mut texts: Vec<String> = series
            .iter()
            .map(|series| {
                let labels: Vec<_> =
                    series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let zero = crate::signals::at(0).as_seconds();
                let values: Vec<_> = series
                    .values
                    .iter()
                    .map(|point| format!("{}={}", point.timestamp - zero, point.value))
                    .collect();
                format!("{{{}}} {}: {}", labels.join(","), series.unit, values.join(" "))
            })
            .collect();
        texts.sort();
        texts
    }
}

/// Milliseconds as [`crate::signals::at`] counts them.
fn milliseconds(time: Timestamp) -> String {
    ((time.as_nanos() - crate::signals::at(0).as_nanos()) / 1_000_000).to_string()
}

fn span_text(span: &Span) -> String {
    let state = match span.state {
        SpanState::Open => "open",
        SpanState::Ended => span.status.map_or("unset", telemetry_core::SpanStatus::as_str),
        SpanState::Unfinished => "unfinished",
    };
    let end = span.end_time.map_or_else(|| "-".to_owned(), milliseconds);
    format!("{} {state} {}..{end} {}", span.name, milliseconds(span.start_time), span.attributes.to_json())
}

/// What a log says.
pub(super) fn body_text(log: &LogRecord) -> &str {
    match &log.body {
        LogBody::Message { message, .. } => message,
        LogBody::SpanEvent { name } => name,
    }
}

/// A filter.
pub(super) fn filter(key: &str, op: FilterOp, value: impl Into<Value>) -> Filter {
    Filter { key: key.to_owned(), op, value: value.into() }
}

/// All points of a metric, raw.
pub(super) fn all_of(metric: &str) -> MetricQuery {
    MetricQuery {
        metric: metric.to_owned(),
        start: Timestamp::from_nanos(i64::MIN),
        end: Timestamp::from_nanos(i64::MAX),
        granularity: None,
        query_type: QueryType::Range,
        matchers: Vec::new(),
        aggregation: None,
    }
}
