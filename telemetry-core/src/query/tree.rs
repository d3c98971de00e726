//! Traces and trees, from the spans of one trace.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::{Span, SpanId, Text, Trace, TraceId};

/// Which span to start from, and how far down.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeQuery {
    /// The span at the top.
    pub span_id: SpanId,
    /// Its trace; `None` takes the one in which a span of this id started last.
    pub trace_id: Option<TraceId>,
    /// Levels, the top being the first; `None` is all, 0 counts as 1.
    pub max_depth: Option<u32>,
}

/// A span and what is below it, ordered by depth, then start, then id.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTree {
    /// The spans; the first is the top.
    pub nodes: Vec<SpanTreeNode>,
}

/// A span and its level in the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTreeNode {
    /// 1 at the top.
    pub depth: u32,
    /// The span.
    pub span: Span,
}

/// The root among the spans of one trace: the span without a parent that starts earliest (ties:
/// smaller id); if there is none, the earliest whose parent is not among them; if all have parents
/// among them (a cycle), the earliest.
pub fn root_of(spans: &[Span]) -> Option<&Span> {
    let ids: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let rank = |span: &&Span| match span.parent_span_id {
        None => 0,
        Some(parent) if !ids.contains(&parent) => 1,
        Some(_) => 2,
    };
    spans.iter().min_by_key(|span| (rank(span), span.start_time, span.span_id))
}

/// The trace that these spans are, if there are any.
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

/// The span `top` and what is below it, down to `max_depth` levels, from the spans of one trace.
/// `None` if `top` is not among them. Parents that form a cycle are followed once.
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
            // Taken out, so that a cycle ends.
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

/// The spans of one trace from its root down to `max_depth` levels, by depth, then start, then id.
/// Without a limit also those that the root does not lead to, after the others.
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

/// The span with only the attributes `keys`, if it has all of them and none is null; the span as it is
/// if no keys are given.
pub fn with_attributes(span: Span, keys: &[String]) -> Option<Span> {
    if keys.is_empty() {
        return Some(span);
    }
    let has = |key: &String| span.attributes.get(key).is_some_and(|value| !value.is_null());
    if !keys.iter().all(has) {
        return None;
    }
    let is_asked = |key: &str| keys.iter().any(|asked| asked == key);
    let attributes = span.attributes.iter().filter(|(key, _)| is_asked(key)).cloned().collect();
    Some(Span { attributes, ..span })
}

/// The default order of traces: newest start first, then the larger trace id first.
pub fn newest_first(trace: &Trace) -> impl Ord + use<> {
    Reverse((trace.start_time, trace.trace_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SpanKey, Timestamp};

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
    fn a_cycle_of_parents_ends() {
        let spans = vec![span(1, Some(2), 0), span(2, Some(1), 1), span(3, Some(3), 2)];
        assert_eq!(shape(tree_of(spans.clone(), SpanId::from_u64(1).unwrap(), None)), [(1, 1), (2, 2)]);
        assert_eq!(shape(tree_of(spans, SpanId::from_u64(3).unwrap(), None)), [(1, 3)]);
    }
}
