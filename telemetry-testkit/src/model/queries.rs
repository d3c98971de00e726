//! The model's answers: each scans all contents and asks `telemetry_core::query` what the query means.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use futures_util::stream;
use telemetry_core::query::{
    LogQuery, MetricQuery, MetricSeries, Order, OrderColumn, Sample, SpanQuery, SpanTree, TraceQuery,
    TreeQuery, aggregate, matches_all, newest_first, root_of, summarize, tree_of,
};
use telemetry_core::{
    Attributes, Instruments, LogRecord, MetricKind, MetricPoint, MetricValue, Pages, QueryError, Span,
    SpanEvent, SpanKey, StreamMark, Trace, TraceId, TraceStore, canonical_name, known_metric,
};

use super::MemoryStore;

/// Signals per page. Small, so that tests with longer answers read several pages.
const PAGE: usize = 16;

fn pages<T: Clone + Send + 'static>(all: &[T]) -> Pages<T> {
    let pages: Vec<Result<Vec<T>, QueryError>> = all.chunks(PAGE).map(|page| Ok(page.to_vec())).collect();
    Box::pin(stream::iter(pages))
}

fn window<T>(all: Vec<T>, offset: u64, limit: Option<u64>) -> Vec<T> {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    all.into_iter().skip(count(offset)).take(limit.map_or(usize::MAX, count)).collect()
}

#[async_trait]
impl TraceStore for MemoryStore {
    fn query_traces(&self, query: TraceQuery) -> Pages<Trace> {
        let inner = self.lock();
        let service = &self.0.service_name;
        let mut traces: Vec<Trace> = inner
            .contents
            .traces(inner.now())
            .values()
            .filter(|spans| spans.iter().any(|span| matches_all(&query.filters, span, service)))
            .filter_map(|spans| summarize(spans, service))
            .collect();
        traces.sort_by(|left, right| compare(&query.order, left, right));
        pages(&window(traces, query.offset, query.limit))
    }

    fn query_spans(&self, query: SpanQuery) -> Pages<Span> {
        let inner = self.lock();
        let service = &self.0.service_name;
        let mut traces: Vec<(Trace, Vec<Span>)> = inner
            .contents
            .traces(inner.now())
            .into_values()
            .filter(|spans| spans.iter().any(|span| matches_all(&query.filters, span, service)))
            .filter_map(|spans| Some((summarize(&spans, service)?, spans)))
            .collect();
        traces.sort_by_key(|(trace, _)| newest_first(trace));
        let spans = traces.into_iter().flat_map(|(_, spans)| from_the_root(spans, query.max_depth));
        let spans: Vec<Span> = spans.filter_map(|span| with_only(span, &query.attributes)).collect();
        pages(&spans)
    }

    fn query_logs(&self, query: LogQuery) -> Pages<LogRecord> {
        let inner = self.lock();
        let mut logs: Vec<LogRecord> =
            inner.contents.logs(inner.now()).rev().filter(|log| query.matches(log)).cloned().collect();
        // The sort is stable: of equal times, the log that arrived last stays first.
        logs.sort_by_key(|log| Reverse(log.timestamp));
        pages(&window(logs, query.offset, query.limit))
    }

    async fn get_trace(&self, trace: TraceId) -> Result<Option<Trace>, QueryError> {
        let inner = self.lock();
        let traces = inner.contents.traces(inner.now());
        Ok(traces.get(&trace).and_then(|spans| summarize(spans, &self.0.service_name)))
    }

    async fn get_span(&self, key: SpanKey) -> Result<Option<Span>, QueryError> {
        let inner = self.lock();
        let mut traces = inner.contents.traces(inner.now());
        let spans = traces.remove(&key.trace_id).unwrap_or_default();
        let Some(span) = spans.into_iter().find(|span| span.span_id == key.span_id) else { return Ok(None) };
        let is_of_span = |event: &&SpanEvent| match event {
            SpanEvent::Log(log) => log.context.span_key() == Some(key),
            SpanEvent::Metric(point) => point.context.span_key() == Some(key),
        };
        let events = inner.contents.events(inner.now()).filter(is_of_span).cloned().collect();
        Ok(Some(Span { events, ..span }))
    }

    async fn span_tree(&self, query: TreeQuery) -> Result<Option<SpanTree>, QueryError> {
        let inner = self.lock();
        let mut traces = inner.contents.traces(inner.now());
        let trace = query.trace_id.or_else(|| {
            let spans = traces.values().flatten().filter(|span| span.span_id == query.span_id);
            spans.max_by_key(|span| (span.start_time, span.trace_id)).map(|span| span.trace_id)
        });
        let spans = trace.and_then(|trace| traces.remove(&trace)).unwrap_or_default();
        Ok(tree_of(spans, query.span_id, query.max_depth))
    }

    async fn query_metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        let inner = self.lock();
        let name = canonical_name(&query.metric);
        let points: Vec<&MetricPoint> =
            inner.contents.points(inner.now()).filter(|point| canonical_name(&point.name) == name).collect();
        let Some(kind) = kind_of(&points) else { return Ok(Vec::new()) };
        let mut series: BTreeMap<(Vec<(String, String)>, &str), Vec<Sample>> = BTreeMap::new();
        for point in points {
            let is_requested = (query.start..=query.end).contains(&point.timestamp)
                && query.matchers.iter().all(|matcher| matcher.matches(&point.attributes));
            if is_requested {
                let sample = Sample { time: point.timestamp, value: point.value.as_f64() };
                series.entry((labels(&point.attributes), &*point.unit)).or_default().push(sample);
            }
        }
        let answer = series.into_iter().map(|((labels, unit), mut samples)| {
            samples.sort_by_key(|sample| sample.time);
            MetricSeries {
                metric: query.metric.clone(),
                labels,
                unit: unit.to_owned(),
                values: aggregate(&query, kind, &samples),
            }
        });
        Ok(answer.collect())
    }

    async fn stream_marks(&self, streams: &[u128]) -> Result<Vec<StreamMark>, QueryError> {
        let inner = self.lock();
        Ok(streams.iter().filter_map(|stream| inner.contents.mark(*stream, inner.now())).cloned().collect())
    }

    async fn health(&self) -> Result<(), QueryError> {
        Ok(())
    }
}

/// Compares by the given order, then newest first.
fn compare(order: &[Order], left: &Trace, right: &Trace) -> Ordering {
    let by_keys = order.iter().map(|key| compare_by(*key, left, right));
    by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| newest_first(left).cmp(&newest_first(right)))
}

fn compare_by(order: Order, left: &Trace, right: &Trace) -> Ordering {
    let duration = |trace: &Trace| trace.end_time.map(|end| end.since(trace.start_time));
    match order.column {
        OrderColumn::StartTime => compare_directed(order, Some(left.start_time), Some(right.start_time)),
        OrderColumn::EndTime => compare_directed(order, left.end_time, right.end_time),
        OrderColumn::TraceId => compare_directed(order, Some(left.trace_id), Some(right.trace_id)),
        OrderColumn::RootSpanId => compare_directed(order, Some(left.root_span_id), Some(right.root_span_id)),
        OrderColumn::ServiceName => {
            compare_directed(order, Some(&left.service_name), Some(&right.service_name))
        }
        OrderColumn::DurationMs => compare_directed(order, duration(left), duration(right)),
    }
}

/// Compares in the direction of `order`. A missing value comes last in both directions.
fn compare_directed<T: Ord>(order: Order, left: Option<T>, right: Option<T>) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) if order.descending => right.cmp(&left),
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Returns the spans of a trace from the root down. Without a depth limit, the spans that are not below the root
/// follow.
fn from_the_root(spans: Vec<Span>, max_depth: Option<u32>) -> Vec<Span> {
    let Some(root) = root_of(&spans).map(|root| root.span_id) else { return Vec::new() };
    let tree = tree_of(spans.clone(), root, max_depth);
    let mut found: Vec<Span> = tree.into_iter().flat_map(|tree| tree.nodes).map(|node| node.span).collect();
    if max_depth.is_none() {
        let below: HashSet<_> = found.iter().map(|span| span.span_id).collect();
        let mut others: Vec<Span> = spans.into_iter().filter(|span| !below.contains(&span.span_id)).collect();
        others.sort_by_key(|span| (span.start_time, span.span_id));
        found.extend(others);
    }
    found
}

/// Returns the span with only these attributes, or `None` if one is missing. Returns the span unchanged if no
/// attribute is requested.
fn with_only(span: Span, keys: &[String]) -> Option<Span> {
    if keys.is_empty() {
        return Some(span);
    }
    let has = |key: &String| span.attributes.get(key).is_some_and(|value| !value.is_null());
    if !keys.iter().all(has) {
        return None;
    }
    let attributes: Attributes =
        span.attributes.iter().filter(|(key, _)| keys.iter().any(|wanted| wanted == key)).cloned().collect();
    Some(Span { attributes, ..span })
}

/// Returns the instrument of a metric: that of the table of known metrics, else the first that an event named, else
/// the one that the first value suggests.
fn kind_of(points: &[&MetricPoint]) -> Option<MetricKind> {
    let first = points.first()?;
    if let Some(known) = known_metric(&first.name) {
        return Some(known.kind);
    }
    let named = points.iter().find_map(|point| point.kind);
    // Only the type of the value matters here, and every instrument accepts zero.
    let value = match first.value {
        MetricValue::Int(_) => MetricValue::Int(0),
        MetricValue::Float(_) => MetricValue::Float(0.0),
    };
    Instruments::default().bind(&first.name, named, value, &first.unit).ok().map(|bound| bound.kind)
}

fn labels(attributes: &Attributes) -> Vec<(String, String)> {
    let mut labels: Vec<_> =
        attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    labels.sort();
    labels
}
