//! Builds traces and trees from the spans of one trace.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::{Span, SpanId, Text, Trace};

/// A span and its descendants, sorted by depth, then start, then id.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTree {
    /// The spans. The first is the top.
    pub nodes: Vec<SpanTreeNode>,
}

/// A span of a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTreeNode {
    /// Its level: 1 at the top.
    pub depth: u32,
    /// The span.
    pub span: Span,
}

/// Returns the root among the spans of one trace: the earliest span without a parent. If every span has a
/// parent, the earliest one whose parent is not among them; if there is none (a cycle), the earliest span.
/// Of spans that start together, the one with the smallest id.
pub fn root_of(spans: &[Span]) -> Option<&Span> {
    let ids: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let rank = |span: &&Span| match span.parent_span_id {
        None => 0,
        Some(parent) if !ids.contains(&parent) => 1,
        Some(_) => 2,
    };
    spans.iter().min_by_key(|span| (rank(span), span.start_time, span.span_id))
}

/// Returns the summary of the trace that consists of `spans`; `None` without spans. `service_name` is that
/// of this process, for spans without one.
pub fn summarize(spans: &[Span], service_name: &str) -> Option<Trace> {
    let root = root_of(spans)?;
    Some(Trace {
        trace_id: root.trace_id,
        root_span_id: root.span_id,
        start_time: spans.iter().map(|span| span.start_time).min()?,
        end_time: spans.iter().filter_map(|span| span.end_time).max(),
        service_name: Text::Owned(root.service_name.as_deref().unwrap_or(service_name).to_owned()),
    })
}

/// Returns the span `top` and its descendants, `max_depth` levels in all, from the spans of one trace.
/// `None` if `top` is not among them. A cycle of parents is followed once.
pub fn tree_of(spans: Vec<Span>, top: SpanId, max_depth: Option<u32>) -> Option<SpanTree> {
    let deepest = max_depth.map_or(u32::MAX, |depth| depth.max(1));
    let mut children: HashMap<SpanId, Vec<usize>> = HashMap::new();
    let mut top_index = None;
    for (index, span) in spans.iter().enumerate() {
        if span.span_id == top {
            top_index = Some(index);
        } else if let Some(parent) = span.parent_span_id {
            children.entry(parent).or_default().push(index);
        }
    }
    let mut depths = vec![0; spans.len()];
    let mut queue = VecDeque::from([(top_index?, 1)]);
    while let Some((index, depth)) = queue.pop_front() {
        depths[index] = depth;
        if depth < deepest {
            // Removing the children ends a cycle.
            let below = children.remove(&spans[index].span_id).unwrap_or_default();
            queue.extend(below.into_iter().map(|child| (child, depth + 1)));
        }
    }
    let mut nodes: Vec<SpanTreeNode> = spans
        .into_iter()
        .zip(depths)
        .filter(|(_, depth)| *depth > 0)
        .map(|(span, depth)| SpanTreeNode { depth, span })
        .collect();
    nodes.sort_by_key(|node| (node.depth, node.span.start_time, node.span.span_id));
    Some(SpanTree { nodes })
}

/// Returns the spans of one trace from its root down to `max_depth` levels, sorted by depth, then start,
/// then id. Without a limit, spans that are not below the root come after the others.
pub fn spans_from_root(spans: Vec<Span>, max_depth: Option<u32>) -> Vec<Span> {
    let Some(root) = root_of(&spans).map(|root| root.span_id) else { return Vec::new() };
    let mut apart = if max_depth.is_none() { spans.clone() } else { Vec::new() };
    let tree = tree_of(spans, root, max_depth);
    let mut found: Vec<Span> = tree.into_iter().flat_map(|tree| tree.nodes).map(|node| node.span).collect();
    let below: HashSet<SpanId> = found.iter().map(|span| span.span_id).collect();
    apart.retain(|span| !below.contains(&span.span_id));
    apart.sort_by_key(|span| (span.start_time, span.span_id));
    found.extend(apart);
    found
}

/// Returns the span with only the attributes `keys`; `None` if one of them is missing or null. Without keys,
/// returns the span unchanged.
pub fn with_attributes(span: Span, keys: &[String]) -> Option<Span> {
    if keys.is_empty() {
        return Some(span);
    }
    let values = span.attributes.get_all(keys);
    if !values.iter().all(|value| value.is_some_and(|value| !value.is_null())) {
        return None;
    }
    Some(Span { attributes: span.attributes.only(keys), ..span })
}

/// Returns the sort key of the default order of traces: newest start first, then larger trace id first.
pub fn newest_first(trace: &Trace) -> impl Ord + use<> {
    Reverse((trace.start_time, trace.trace_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SpanKey, Timestamp, TraceId, Value, attrs};

    fn span(id: u64, parent: Option<u64>, start: i64) -> Span {
        let key = SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(id).unwrap());
        Span {
            parent_span_id: parent.and_then(SpanId::from_u64),
            ..Span::open(key, "s", Timestamp::from_nanos(start))
        }
    }

    fn shape(tree: Option<SpanTree>) -> Vec<(u32, u64)> {
        tree.map(|tree| tree.nodes.iter().map(|node| (node.depth, node.span.span_id.as_u64())).collect())
            .unwrap_or_default()
    }

    #[test]
    fn the_root_has_no_parent_or_an_unknown_one() {
        assert_eq!(root_of(&[span(2, Some(1), 0), span(1, None, 5)]).unwrap().span_id.as_u64(), 1);
        assert_eq!(root_of(&[span(2, Some(9), 3), span(3, Some(2), 1)]).unwrap().span_id.as_u64(), 2);
        assert_eq!(root_of(&[span(4, None, 3), span(3, None, 3)]).unwrap().span_id.as_u64(), 3);
        assert_eq!(root_of(&[]), None);
    }

    #[test]
    fn a_tree_is_ordered_by_depth_then_start() {
        let spans = vec![span(4, Some(2), 9), span(3, Some(1), 2), span(2, Some(1), 3), span(1, None, 0)];
        assert_eq!(
            shape(tree_of(spans.clone(), SpanId::from_u64(1).unwrap(), None)),
            [(1, 1), (2, 3), (2, 2), (3, 4)]
        );
        assert_eq!(shape(tree_of(spans.clone(), SpanId::from_u64(1).unwrap(), Some(0))), [(1, 1)]);
        assert_eq!(tree_of(spans, SpanId::from_u64(7).unwrap(), None), None);
    }

    #[test]
    fn only_the_wanted_attributes_are_returned_in_their_order() {
        let span = Span { attributes: attrs! { "a" => 1, "b" => Value::Null, "c" => 3 }, ..span(1, None, 0) };
        let pick = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            with_attributes(span.clone(), &keys).map(|span| span.attributes.to_json())
        };
        assert_eq!(pick(&["c", "a"]).unwrap(), r#"{"a":1,"c":3}"#);
        assert_eq!(pick(&["c", "b"]), None, "null");
        assert_eq!(pick(&["c", "x"]), None, "missing");
        assert_eq!(pick(&[]).unwrap(), r#"{"a":1,"b":null,"c":3}"#);
    }

    #[test]
    fn a_cycle_of_parents_ends() {
        let spans = vec![span(1, Some(2), 0), span(2, Some(1), 1), span(3, Some(3), 2)];
        assert_eq!(shape(tree_of(spans.clone(), SpanId::from_u64(1).unwrap(), None)), [(1, 1), (2, 2)]);
        assert_eq!(shape(tree_of(spans, SpanId::from_u64(3).unwrap(), None)), [(1, 3)]);
    }
}
