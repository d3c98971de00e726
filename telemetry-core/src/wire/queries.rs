//! Reads queries: the bodies of the query routes.

use serde_json::Value as Json;

use super::problem::Problems;
use super::reader::{Object, Reader};
use crate::query::{
    Filter, LabelMatcher, LogQuery, MAX_MATCHERS, MatcherOp, MetricQuery, Order, OrderColumn, QueryType,
    SpanQuery, TraceQuery, TreeQuery,
};
use crate::{SpanId, Timestamp};

/// The limit of a query without one.
const DEFAULT_LIMIT: u64 = 100;

/// A tree query, and the attributes to return.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeRequest {
    /// The span at the top, and the number of levels.
    pub query: TreeQuery,
    /// Only these attributes are returned, null where missing. Empty: all attributes.
    pub attributes_to_return: Vec<String>,
}

/// A request to append spans to a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRequest {
    /// The spans.
    pub query: SpanQuery,
    /// The dataset.
    pub dataset_id: String,
}

/// Reads `{attribute_filters?, limit?, offset?, order_by?}`.
pub fn read_trace_query(body: &Json, problems: &mut Problems) -> Option<TraceQuery> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    let filters = reader.optional(object, "attribute_filters", read_filters);
    let limit = read_limit(&mut reader, object);
    let offset = read_offset(&mut reader, object);
    let order = reader.optional(object, "order_by", |reader, value| reader.items(value, read_order));
    Some(TraceQuery {
        filters: filters?.unwrap_or_default(),
        order: order?.unwrap_or_default(),
        limit: limit?,
        offset: offset?,
    })
}

/// Reads `{attribute_filters, attributes_to_return, max_depth?}`.
pub fn read_span_query(body: &Json, problems: &mut Problems) -> Option<SpanQuery> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    read_spans(&mut reader, object, "attributes_to_return")
}

/// Reads `{attribute_filters, attributes_to_save, dataset_id, max_depth?}`.
pub fn read_export(body: &Json, problems: &mut Problems) -> Option<ExportRequest> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    let query = read_spans(&mut reader, object, "attributes_to_save");
    let dataset_id = reader.required(object, "dataset_id", Reader::text);
    Some(ExportRequest { query: query?, dataset_id: dataset_id?.to_owned() })
}

fn read_spans(reader: &mut Reader<'_>, object: &Object, attributes_key: &str) -> Option<SpanQuery> {
    let filters = reader.required(object, "attribute_filters", read_filters);
    let attributes = reader.required(object, attributes_key, read_texts);
    let max_depth = read_depth(reader, object);
    Some(SpanQuery { filters: filters?, attributes: attributes?, max_depth: max_depth? })
}

/// Reads `{attributes_to_return?, max_depth?, trace_id?}` for the span `span_id`.
pub fn read_tree_query(span_id: SpanId, body: &Json, problems: &mut Problems) -> Option<TreeRequest> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    let attributes = reader.optional(object, "attributes_to_return", read_texts);
    let max_depth = read_depth(&mut reader, object);
    let trace_id = reader.optional(object, "trace_id", Reader::trace_id);
    let query = TreeQuery { span_id, trace_id: trace_id?, max_depth: max_depth? };
    Some(TreeRequest { query, attributes_to_return: attributes?.unwrap_or_default() })
}

/// Reads `{start_time, end_time?, granularity?, query_type?, label_matchers?, aggregation?}`. The default
/// of `end_time` is `now`.
pub fn read_metric_query(
    metric: &str,
    body: &Json,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<MetricQuery> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    let start = reader.required(object, "start_time", Reader::timestamp);
    let end = reader.optional(object, "end_time", Reader::timestamp);
    let granularity = reader.optional_not_empty(object, "granularity", Reader::parsed);
    let query_type = reader.optional(object, "query_type", Reader::variant);
    let matchers =
        reader.optional(object, "label_matchers", |reader, value| match value.as_array().map(Vec::len) {
            Some(count) if count > MAX_MATCHERS => {
                let message = format!("List should have at most {MAX_MATCHERS} items, not {count}");
                reader.fail("too_long", message)
            }
            _ => reader.items(value, read_matcher),
        });
    let aggregation = reader.optional(object, "aggregation", Reader::variant);
    Some(MetricQuery {
        metric: metric.to_owned(),
        start: start?,
        end: end?.unwrap_or(now),
        granularity: granularity?,
        query_type: query_type?.unwrap_or(QueryType::Range),
        matchers: matchers?.unwrap_or_default(),
        aggregation: aggregation?,
    })
}

/// Reads `{trace_id?, span_id?, min_severity?, contains?, start_time?, end_time?, limit?, offset?}`.
pub fn read_log_query(body: &Json, problems: &mut Problems) -> Option<LogQuery> {
    let mut reader = Reader::body(problems);
    let object = reader.object(body)?;
    let trace_id = reader.optional(object, "trace_id", Reader::trace_id);
    let span_id = reader.optional(object, "span_id", Reader::span_id);
    let min_severity = reader.optional(object, "min_severity", Reader::variant);
    let contains = reader.optional(object, "contains", Reader::text);
    let start = reader.optional(object, "start_time", Reader::timestamp);
    let end = reader.optional(object, "end_time", Reader::timestamp);
    let limit = read_limit(&mut reader, object);
    let offset = read_offset(&mut reader, object);
    Some(LogQuery {
        trace_id: trace_id?,
        span_id: span_id?,
        min_severity: min_severity?,
        contains: contains?.map(str::to_owned),
        start: start?,
        end: end?,
        limit: limit?,
        offset: offset?,
    })
}

fn read_texts(reader: &mut Reader<'_>, value: &Json) -> Option<Vec<String>> {
    reader.items(value, |reader, item| reader.text(item).map(str::to_owned))
}

fn read_filters(reader: &mut Reader<'_>, value: &Json) -> Option<Vec<Filter>> {
    reader.items(value, |reader, item| {
        let object = reader.object(item)?;
        let key = reader.required(object, "key", Reader::text);
        let op = reader.required(object, "op", Reader::variant);
        let value = reader.required(object, "value", Reader::scalar);
        Some(Filter { key: key?.to_owned(), op: op?, value: value? })
    })
}

fn read_matcher(reader: &mut Reader<'_>, item: &Json) -> Option<LabelMatcher> {
    let object = reader.object(item)?;
    let name = reader.required(object, "name", Reader::text);
    let op = reader.optional(object, "operator", Reader::variant);
    let value = reader.required(object, "value", Reader::text);
    let (name, op, value) = (name?, op?.unwrap_or(MatcherOp::Equal), value?);
    match LabelMatcher::new(name, op, value) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            reader.at("value", |reader| reader.fail("value_error", format!("Value error, {error}")))
        }
    }
}

/// Reads `limit`; null and -1 mean no limit.
fn read_limit(reader: &mut Reader<'_>, object: &Object) -> Option<Option<u64>> {
    if !object.contains_key("limit") {
        return Some(Some(DEFAULT_LIMIT));
    }
    let limit = reader.optional(object, "limit", |reader, value| at_least(reader, value, -1))?;
    Some(limit.and_then(|limit| (limit >= 0).then(|| u64::try_from(limit).unwrap_or(u64::MAX))))
}

/// Reads `offset`; the default is 0.
fn read_offset(reader: &mut Reader<'_>, object: &Object) -> Option<u64> {
    let offset = reader.optional(object, "offset", |reader, value| at_least(reader, value, 0))?;
    Some(offset.map_or(0, |offset| u64::try_from(offset).unwrap_or(u64::MAX)))
}

/// Reads `max_depth`; 0 counts as 1.
fn read_depth(reader: &mut Reader<'_>, object: &Object) -> Option<Option<u32>> {
    let depth = reader.optional(object, "max_depth", |reader, value| at_least(reader, value, 0))?;
    Some(depth.map(|depth| u32::try_from(depth).unwrap_or(u32::MAX).max(1)))
}

/// Reads an integer that is `least` or more.
fn at_least(reader: &mut Reader<'_>, value: &Json, least: i128) -> Option<i128> {
    match reader.integer(value)? {
        number if number < least => {
            reader.fail("greater_than_equal", format!("Input should be greater than or equal to {least}"))
        }
        number => Some(number),
    }
}

/// Reads a column name; a `-` in front of it means descending.
fn read_order(reader: &mut Reader<'_>, item: &Json) -> Option<Order> {
    let text = reader.text(item)?;
    let (descending, column) = match text.strip_prefix('-') {
        Some(column) => (true, column),
        None => (false, text),
    };
    match column.parse::<OrderColumn>() {
        Ok(column) => Some(Order { column, descending }),
        Err(error) => reader.fail("value_error", format!("Value error, {error}, each with an optional `-`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::query::FilterOp;
    use serde_json::json;

    fn problem(body: &Json) -> String {
        let mut problems = Problems::default();
        assert_eq!(read_trace_query(body, &mut problems), None);
        problems.iter().map(super::super::problem::Problem::place).collect::<Vec<_>>().join(" ")
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
    fn every_invalid_value_is_reported_with_its_place() {
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
        let places: Vec<String> = problems.iter().map(super::super::problem::Problem::place).collect();
        assert_eq!(places, ["body.start_time", "body.granularity", "body.label_matchers.0.value"]);
    }
}
