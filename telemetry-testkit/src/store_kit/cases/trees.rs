//! Trees of spans.

use telemetry_core::Span;

use crate::signals::{child, ended, open_span, span, started};
use crate::store_kit::Stage;

async fn store_family(stage: &mut Stage) {
    stage
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

/// Levels first, then starts; what does not hang below the span is not in its tree.
pub async fn a_tree_is_ordered_by_depth_then_start(stage: &mut Stage) {
    store_family(stage).await;
    assert_eq!(stage.tree(None, 1, None).await.as_deref(), Some("1:1 2:3 2:2 3:5 3:4"));
    assert_eq!(stage.tree(None, 2, None).await.as_deref(), Some("1:2 2:4"));
    assert_eq!(stage.tree(None, 6, None).await.as_deref(), Some("1:6"));
}

/// The asked span is level 1; 0 counts as 1; a huge depth is fine.
pub async fn max_depth_counts_levels(stage: &mut Stage) {
    store_family(stage).await;
    assert_eq!(stage.tree(None, 1, Some(1)).await.as_deref(), Some("1:1"));
    assert_eq!(stage.tree(None, 1, Some(0)).await.as_deref(), Some("1:1"));
    assert_eq!(stage.tree(None, 1, Some(2)).await.as_deref(), Some("1:1 2:3 2:2"));
    assert_eq!(stage.tree(None, 1, Some(u32::MAX)).await.as_deref(), Some("1:1 2:3 2:2 3:5 3:4"));
}

/// A span that is not there has no tree, not an empty one.
pub async fn a_missing_span_has_no_tree(stage: &mut Stage) {
    store_family(stage).await;
    assert_eq!(stage.tree(None, 99, None).await, None);
    assert_eq!(stage.tree(Some(2), 1, None).await, None);
}

/// Without a trace id the span that started last is meant, finished or not.
pub async fn a_span_id_in_several_traces_means_the_latest(stage: &mut Stage) {
    stage
        .write([
            ended(span(1, 7, 10, 20)),
            ended(child(1, 8, 7, 11, 12)),
            ended(span(2, 7, 30, 40)),
            ended(child(2, 9, 7, 31, 32)),
        ])
        .await;
    assert_eq!(stage.tree(None, 7, None).await.as_deref(), Some("1:7 2:9"));
    assert_eq!(stage.tree(Some(1), 7, None).await.as_deref(), Some("1:7 2:8"));
    stage.write([started(Span { name: "latest".into(), ..open_span(3, 7, 50) })]).await;
    assert_eq!(stage.tree(None, 7, None).await.as_deref(), Some("1:7"));
}

/// Parents that form a circle are followed once.
pub async fn a_cycle_of_parents_ends(stage: &mut Stage) {
    stage
        .write([ended(child(1, 1, 2, 0, 9)), ended(child(1, 2, 1, 1, 9)), ended(child(1, 3, 3, 2, 9))])
        .await;
    assert_eq!(stage.tree(None, 1, None).await.as_deref(), Some("1:1 2:2"));
    assert_eq!(stage.tree(None, 3, None).await.as_deref(), Some("1:3"));
}
