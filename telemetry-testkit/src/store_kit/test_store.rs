//! A store under test, with short questions to it.

use std::sync::Arc;

use telemetry_core::query::{
    Filter, FilterOp, LogQuery, MetricQuery, Order, QueryType, SpanQuery, TraceQuery, TreeQuery,
};
use telemetry_core::{LogBody, LogRecord, QueryError, Signal, Span, SpanState, Timestamp, TraceStore, Value};

use crate::signals::{at, key, span_id, trace_id};
use crate::{Driver, Harness, collect};

/// A store under test. Its methods return numbers and short texts, so that a case can show its expected answer in one
/// line.
#[derive(Debug)]
pub struct TestStore {
    driver: Driver,
}

fn unwrap<T>(answer: Result<T, QueryError>) -> T {
    answer.unwrap_or_else(|error| panic!("the store fails to answer: {error}"))
}

impl TestStore {
    /// Builds an empty store.
    ///
    /// # Panics
    ///
    /// If the sink can't be built.
    pub async fn of(harness: &impl Harness) -> Self {
        match harness.build().await {
            Ok(built) => Self { driver: Driver::new(built) },
            Err(error) => panic!("the sink can't be built: {}", error.full_text()),
        }
    }

    /// Writes a batch.
    ///
    /// # Panics
    ///
    /// If the sink fails.
    pub async fn write(&mut self, signals: impl IntoIterator<Item = Signal>) {
        if let Err(error) = self.driver.write(signals.into_iter().collect()).await {
            panic!("the sink fails: {}", error.full_text());
        }
    }

    /// Returns the store.
    ///
    /// # Panics
    ///
    /// If the sink has no store.
    pub fn trace_store(&self) -> Arc<dyn TraceStore> {
        self.driver.store().expect("the store kit needs a sink with a store")
    }

    /// Returns the ids of the traces that answer the query, in order.
    pub async fn traces(&self, query: TraceQuery) -> Vec<u128> {
        let traces = unwrap(collect(self.trace_store().query_traces(query)).await);
        traces.iter().map(|trace| trace.trace_id.as_u128()).collect()
    }

    /// Returns the ids of the traces with a span that matches all filters, newest first.
    pub async fn traces_with(&self, filters: impl IntoIterator<Item = Filter>) -> Vec<u128> {
        self.traces(TraceQuery {
            filters: filters.into_iter().collect(),
            limit: None,
            ..TraceQuery::default()
        })
        .await
    }

    /// Returns the ids of all traces in this order: names of columns with commas between them, with `-` before those in
    /// descending order.
    ///
    /// # Panics
    ///
    /// If a name is not that of a column.
    pub async fn traces_by(&self, columns: &str) -> Vec<u128> {
        let order = columns.split(',').map(|name| {
            let column = name.trim_start_matches('-');
            Order { column: column.parse().expect("the name of a column"), descending: name.starts_with('-') }
        });
        self.traces(TraceQuery { order: order.collect(), ..TraceQuery::default() }).await
    }

    /// Returns a trace as `root start..end`, in milliseconds as for [`at`]. A trace without an end shows `-`.
    pub async fn trace(&self, id: u128) -> Option<String> {
        let trace = unwrap(self.trace_store().get_trace(trace_id(id)).await)?;
        let end = trace.end_time.map_or_else(|| "-".to_owned(), milliseconds);
        Some(format!("{} {}..{end}", trace.root_span_id.as_u64(), milliseconds(trace.start_time)))
    }

    /// Returns a span with its events.
    pub async fn span(&self, trace: u128, span: u64) -> Option<Span> {
        unwrap(self.trace_store().get_span(key(trace, span)).await)
    }

    /// Returns a span as `name state start..end {attributes}`.
    pub async fn span_text(&self, trace: u128, span: u64) -> Option<String> {
        self.span(trace, span).await.map(|span| span_text(&span))
    }

    /// Returns a tree as `depth:span` pairs in order, or `None` if the span is unknown.
    pub async fn tree(&self, trace: Option<u128>, span: u64, max_depth: Option<u32>) -> Option<String> {
        let query = TreeQuery { span_id: span_id(span), trace_id: trace.map(trace_id), max_depth };
        let tree = unwrap(self.trace_store().span_tree(query).await)?;
        let nodes = tree.nodes.iter().map(|node| format!("{}:{}", node.depth, node.span.span_id.as_u64()));
        Some(nodes.collect::<Vec<_>>().join(" "))
    }

    /// Returns spans as `trace/span{attributes}`, in order.
    pub async fn spans(&self, query: SpanQuery) -> Vec<String> {
        let spans = unwrap(collect(self.trace_store().query_spans(query)).await);
        let text = |span: &Span| {
            let (trace, id) = (span.trace_id.as_u128(), span.span_id.as_u64());
            format!("{trace}/{id}{}", span.attributes.to_json())
        };
        spans.iter().map(text).collect()
    }

    /// Returns the messages of the logs that answer the query, in order. A span event shows its name.
    pub async fn logs(&self, query: LogQuery) -> Vec<String> {
        let logs = unwrap(collect(self.trace_store().query_logs(query)).await);
        logs.iter().map(|log| body_text(log).to_owned()).collect()
    }

    /// Returns series as `{labels} unit: time=value …`, sorted. Times are in seconds since `at(0)`.
    pub async fn metrics(&self, query: MetricQuery) -> Vec<String> {
        let series = unwrap(self.trace_store().query_metrics(query).await);
        let mut texts: Vec<String> = series
            .iter()
            .map(|series| {
                let labels: Vec<_> =
                    series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let zero = at(0).as_seconds();
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

/// Formats a time as milliseconds since `at(0)`.
fn milliseconds(time: Timestamp) -> String {
    ((time.as_nanos() - at(0).as_nanos()) / 1_000_000).to_string()
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

/// Returns the message of a log or the name of a span event.
pub(super) fn body_text(log: &LogRecord) -> &str {
    match &log.body {
        LogBody::Message { message, .. } => message,
        LogBody::SpanEvent { name } => name,
    }
}

/// Returns a filter.
pub(super) fn filter(key: &str, op: FilterOp, value: impl Into<Value>) -> Filter {
    Filter { key: key.to_owned(), op, value: value.into() }
}

/// Returns a query for all points of a metric.
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
