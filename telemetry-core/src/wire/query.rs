//! Queries: the bodies of the query routes.

use serde_json::{Map, Value as Json};

use super::Problems;
use super::scope::{Scope, words_of};
use crate::query::{
    Aggregation, Filter, FilterOp, LabelMatcher, LogQuery, MatcherOp, MetricQuery, Order, OrderColumn,
    QueryType, SpanQuery, TraceQuery, TreeQuery,
};
use crate::{Severity, SpanId, Timestamp};

/// A tree query, and the attributes to show.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeRequest {
    /// Which span, and how far down.
    pub query: TreeQuery,
    /// Only these attributes, null where missing; empty: all.
    pub attributes_to_return: Vec<String>,
}

/// Spans to append to a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRequest {
    /// Which spans.
    pub query: SpanQuery,
    /// Where to.
    pub dataset_id: String,
}

/// The value of a key, null counting as absent.
fn given<'a>(object: &'a Map<String, Json>, key: &str) -> Option<&'a Json> {
    object.get(key).filter(|value| !value.is_null())
}

/// Reads `{attribute_filters?, limit?, offset?, order_by?}`.
pub fn read_trace_query(body: &Json, problems: &mut Problems) -> Option<TraceQuery> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    let filters = read_filters(&mut scope, object, "attribute_filters", false);
    let limit = read_limit(&mut scope, object);
    let offset = read_offset(&mut scope, object);
    let order = read_order(&mut scope, object);
    Some(TraceQuery { filters: filters?, order: order?, limit: limit?, offset: offset? })
}

/// Reads `{attribute_filters, attributes_to_return, max_depth?}`.
pub fn read_span_query(body: &Json, problems: &mut Problems) -> Option<SpanQuery> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    read_spans(&mut scope, object, "attributes_to_return")
}

/// Reads `{attribute_filters, attributes_to_save, dataset_id, max_depth?}`.
pub fn read_export(body: &Json, problems: &mut Problems) -> Option<ExportRequest> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    let query = read_spans(&mut scope, object, "attributes_to_save");
    let dataset_id = scope
        .required(object, "dataset_id")
        .and_then(|value| scope.at("dataset_id", |scope| scope.text(value)));
    Some(ExportRequest { query: query?, dataset_id: dataset_id?.to_owned() })
}

fn read_spans(scope: &mut Scope<'_>, object: &Map<String, Json>, attributes: &str) -> Option<SpanQuery> {
    let filters = read_filters(scope, object, "attribute_filters", true);
    let attributes = match object.get(attributes) {
        None => scope.at(attributes, |scope| scope.fail("missing", "Field required")),
        Some(_) => read_texts(scope, object, attributes),
    };
    let max_depth = read_depth(scope, object);
    Some(SpanQuery { filters: filters?, attributes: attributes?, max_depth: max_depth? })
}

/// Reads `{attributes_to_return?, max_depth?, trace_id?}` for the span of the path.
pub fn read_tree_query(span_id: SpanId, body: &Json, problems: &mut Problems) -> Option<TreeRequest> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    let attributes = read_texts(&mut scope, object, "attributes_to_return");
    let max_depth = read_depth(&mut scope, object);
    let trace_id = match given(object, "trace_id") {
        None => Some(None),
        Some(value) => scope.at("trace_id", |scope| scope.trace_id(value)).map(Some),
    };
    let query = TreeQuery { span_id, trace_id: trace_id?, max_depth: max_depth? };
    Some(TreeRequest { query, attributes_to_return: attributes? })
}

/// Reads `{start_time, end_time?, granularity?, query_type?, label_matchers?, aggregation?}`; `now` is
/// the end of the window where none is given.
pub fn read_metric_query(
    metric: &str,
    body: &Json,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<MetricQuery> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    let start = scope
        .required(object, "start_time")
        .and_then(|value| scope.at("start_time", |scope| scope.timestamp(value)));
    let end = match given(object, "end_time") {
        None => Some(now),
        Some(value) => scope.at("end_time", |scope| scope.timestamp(value)),
    };
    let granularity = match given(object, "granularity") {
        None => Some(None),
        Some(Json::String(text)) if text.is_empty() => Some(None),
        Some(value) => scope.at("granularity", |scope| scope.parsed(value)).map(Some),
    };
    let query_type = match given(object, "query_type") {
        None => Some(QueryType::Range),
        Some(value) => scope.at("query_type", |scope| scope.word(value, words_of!(QueryType))),
    };
    let matchers = read_items(&mut scope, object, "label_matchers", read_matcher);
    let aggregation = match given(object, "aggregation") {
        None => Some(None),
        Some(value) => scope.at("aggregation", |scope| scope.word(value, words_of!(Aggregation))).map(Some),
    };
    Some(MetricQuery {
        metric: metric.to_owned(),
        start: start?,
        end: end?,
        granularity: granularity?,
        query_type: query_type?,
        matchers: matchers?,
        aggregation: aggregation?,
    })
}

/// Reads `{trace_id?, span_id?, min_severity?, contains?, start_time?, end_time?, limit?, offset?}`.
pub fn read_log_query(body: &Json, problems: &mut Problems) -> Option<LogQuery> {
    let mut scope = Scope::body(problems);
    let object = scope.object(body)?;
    macro_rules! optional {
        ($key:literal, $read:expr) => {
            match given(object, $key) {
                None => Some(None),
                Some(value) => scope.at($key, |scope| $read(scope, value)).map(Some),
            }
        };
    }
    let trace_id = optional!("trace_id", Scope::trace_id);
    let span_id = optional!("span_id", Scope::span_id);
    let min_severity =
        optional!("min_severity", |scope: &mut Scope<'_>, value| scope.word(value, words_of!(Severity)));
    let contains = optional!("contains", |scope: &mut Scope<'_>, value| scope.text(value).map(str::to_owned));
    let start = optional!("start_time", Scope::timestamp);
    let end = optional!("end_time", Scope::timestamp);
    let limit = read_limit(&mut scope, object);
    let offset = read_offset(&mut scope, object);
    Some(LogQuery {
        trace_id: trace_id?,
        span_id: span_id?,
        min_severity: min_severity?,
        contains: contains?,
        start: start?,
        end: end?,
        limit: limit?,
        offset: offset?,
    })
}

/// A list, each item read; absent is empty.
fn read_items<T>(
    scope: &mut Scope<'_>,
    object: &Map<String, Json>,
    key: &str,
    read: impl Fn(&mut Scope<'_>, &Json) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(value) = given(object, key) else { return Some(Vec::new()) };
    scope.at(key, |scope| {
        let items = scope.list(value)?;
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| scope.item(index, |scope| read(scope, item)))
            .collect();
        read.into_iter().collect()
    })
}

fn read_texts(scope: &mut Scope<'_>, object: &Map<String, Json>, key: &str) -> Option<Vec<String>> {
    read_items(scope, object, key, |scope, item| scope.text(item).map(str::to_owned))
}

fn read_filters(
    scope: &mut Scope<'_>,
    object: &Map<String, Json>,
    key: &str,
    must_be_there: bool,
) -> Option<Vec<Filter>> {
    if must_be_there {
        scope.required(object, key)?;
    }
    read_items(scope, object, key, |scope, item| {
        let object = scope.object(item)?;
        let key = scope.required(object, "key").and_then(|value| scope.at("key", |scope| scope.text(value)));
        let op = scope
            .required(object, "op")
            .and_then(|value| scope.at("op", |scope| scope.word(value, words_of!(FilterOp))));
        let value =
            scope.required(object, "value").and_then(|value| scope.at("value", |scope| scope.scalar(value)));
        Some(Filter { key: key?.to_owned(), op: op?, value: value? })
    })
}

fn read_matcher(scope: &mut Scope<'_>, item: &Json) -> Option<LabelMatcher> {
    let object = scope.object(item)?;
    let name = scope.required(object, "name").and_then(|value| scope.at("name", |scope| scope.text(value)));
    let op = match given(object, "operator") {
        None => Some(MatcherOp::Equal),
        Some(value) => scope.at("operator", |scope| scope.word(value, words_of!(MatcherOp))),
    };
    let value =
        scope.required(object, "value").and_then(|value| scope.at("value", |scope| scope.text(value)));
    let (name, op, value) = (name?, op?, value?);
    match LabelMatcher::new(name, op, value) {
        Ok(matcher) => Some(matcher),
        Err(error) => scope.at("value", |scope| scope.fail("value_error", format!("Value error, {error}"))),
    }
}

/// Default 100; null and -1 are all.
fn read_limit(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Option<u64>> {
    match object.get("limit") {
        None => Some(Some(100)),
        Some(Json::Null) => Some(None),
        Some(value) => scope.at("limit", |scope| match scope.integer(value)? {
            -1 => Some(None),
            limit if limit < 0 => {
                scope.fail("greater_than_equal", "Input should be greater than or equal to -1")
            }
            limit => Some(Some(u64::try_from(limit).unwrap_or(u64::MAX))),
        }),
    }
}

fn read_offset(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<u64> {
    let Some(value) = given(object, "offset") else { return Some(0) };
    scope.at("offset", |scope| match scope.integer(value)? {
        offset if offset < 0 => {
            scope.fail("greater_than_equal", "Input should be greater than or equal to 0")
        }
        offset => Some(u64::try_from(offset).unwrap_or(u64::MAX)),
    })
}

/// 0 counts as 1.
fn read_depth(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Option<u32>> {
    let Some(value) = given(object, "max_depth") else { return Some(None) };
    scope.at("max_depth", |scope| match scope.integer(value)? {
        depth if depth < 0 => scope.fail("greater_than_equal", "Input should be greater than or equal to 0"),
        depth => Some(Some(u32::try_from(depth).unwrap_or(u32::MAX).max(1))),
    })
}

fn read_order(scope: &mut Scope<'_>, object: &Map<String, Json>) -> Option<Vec<Order>> {
    read_items(scope, object, "order_by", |scope, item| {
        let text = scope.text(item)?;
        let (descending, column) = match text.strip_prefix('-') {
            Some(column) => (true, column),
            None => (false, text),
        };
        match column.parse::<OrderColumn>() {
            Ok(column) => Some(Order { column, descending }),
            Err(error) => {
                scope.fail("value_error", format!("Value error, {error}, each with an optional `-`"))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use serde_json::json;

    fn problem(body: &Json) -> String {
        let mut problems = Problems::default();
        assert_eq!(read_trace_query(body, &mut problems), None);
        problems.iter().map(super::super::Problem::place).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_full_trace_query_is_read() {
        let body = json!({"attribute_filters": [{"key": "n", "op": "gt", "value": 3}], "limit": "10", "offset": 5,
                          "order_by": ["-start_time", "trace_id"]});
        let query = read_trace_query(&body, &mut Problems::default()).unwrap();
        assert_eq!(query.filters, [Filter { key: "n".into(), op: FilterOp::Gt, value: Value::Int(3) }]);
        assert_eq!((query.limit, query.offset, query.order.len()), (Some(10), 5, 2));
        assert_eq!(read_trace_query(&json!({"limit": -1}), &mut Problems::default()).unwrap().limit, None);
        assert_eq!(read_trace_query(&json!({}), &mut Problems::default()), Some(TraceQuery::default()));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_place() {
        let body = json!({"attribute_filters": [{"key": "a", "op": "like", "value": []}], "limit": -2, "offset": -1,
                          "order_by": ["start_time; drop table traces"]});
        let expected = "body.attribute_filters.0.op body.attribute_filters.0.value body.limit body.offset body.order_by.0";
        assert_eq!(problem(&body), expected);
        assert_eq!(problem(&json!({"limit": 1.5})), "body.limit");
        assert_eq!(problem(&json!([])), "body");
    }

    #[test]
    fn a_metric_query_needs_a_start() {
        let mut problems = Problems::default();
        let body =
            json!({"granularity": "0s", "label_matchers": [{"name": "a", "operator": "=~", "value": "("}]});
        assert_eq!(read_metric_query("m", &body, Timestamp::from_nanos(0), &mut problems), None);
        let places: Vec<String> = problems.iter().map(super::super::Problem::place).collect();
        assert_eq!(places, ["body.start_time", "body.granularity", "body.label_matchers.0.value"]);
    }
}
