//! Trees of spans.

use telemetry_core::Span;

use crate::signals::{child, ended, open_span, span, started};
use crate::store_kit::test_store::TestStore;

async fn store_one_tree(store: &mut TestStore) {
    store
        .write([
            ended(child(1, 4, 2, 90, 95)),
            ended(child(1, 3, 1, 20, 50)),
            ended(child(1, 2, 1, 30, 60)),
            ended(child(1, 5, 3, 25, 26)),
            ended(span(1, 1, 0, 100)),
            ended(child(1, 6, 99, 1, 2)),
        ])
        .await;
}

/// Nodes are ordered by level, then by start. The tree has only spans below the requested one.
pub async fn a_tree_is_ordered_by_depth_then_start(store: &mut TestStore) {
    store_one_tree(store).await;
    assert_eq!(store.tree(None, 1, None).await.as_deref(), Some("1:1 2:3 2:2 3:5 3:4"));
    assert_eq!(store.tree(None, 2, None).await.as_deref(), Some("1:2 2:4"));
    assert_eq!(store.tree(None, 6, None).await.as_deref(), Some("1:6"));
}

/// The requested span is level 1. A depth of 0 counts as 1, and a huge depth is allowed.
pub async fn max_depth_counts_levels(store: &mut TestStore) {
    store_one_tree(store).await;
    assert_eq!(store.tree(None, 1, Some(1)).await.as_deref(), Some("1:1"));
    assert_eq!(store.tree(None, 1, Some(0)).await.as_deref(), Some("1:1"));
    assert_eq!(store.tree(None, 1, Some(2)).await.as_deref(), Some("1:1 2:3 2:2"));
    assert_eq!(store.tree(None, 1, Some(u32::MAX)).await.as_deref(), Some("1:1 2:3 2:2 3:5 3:4"));
}

/// The tree of an unknown span is `None`, not empty.
pub async fn a_missing_span_has_no_tree(store: &mut TestStore) {
    store_one_tree(store).await;
    assert_eq!(store.tree(None, 99, None).await, None);
    assert_eq!(store.tree(Some(2), 1, None).await, None);
}

/// Without a trace id, the answer is about the span that started last, ended or open.
pub async fn a_span_id_in_several_traces_means_the_latest(store: &mut TestStore) {
    store
        .write([
            ended(span(1, 7, 10, 20)),
            ended(child(1, 8, 7, 11, 12)),
            ended(span(2, 7, 30, 40)),
            ended(child(2, 9, 7, 31, 32)),
        ])
        .await;
    assert_eq!(store.tree(None, 7, None).await.as_deref(), Some("1:7 2:9"));
    assert_eq!(store.tree(Some(1), 7, None).await.as_deref(), Some("1:7 2:8"));
    store.write([started(Span { name: "latest".into(), ..open_span(3, 7, 50) })]).await;
    assert_eq!(store.tree(None, 7, None).await.as_deref(), Some("1:7"));
}

/// Parents that form a cycle are followed once.
pub async fn a_cycle_of_parents_ends(store: &mut TestStore) {
    store
        .write([ended(child(1, 1, 2, 0, 9)), ended(child(1, 2, 1, 1, 9)), ended(child(1, 3, 3, 2, 9))])
        .await;
    assert_eq!(store.tree(None, 1, None).await.as_deref(), Some("1:1 2:2"));
    assert_eq!(store.tree(None, 3, None).await.as_deref(), Some("1:3"));
}
