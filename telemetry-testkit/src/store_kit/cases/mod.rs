//! One case per sentence about queries. Each contains its answer.

pub mod expiry;
pub mod filters;
pub mod logs;
pub mod metrics;
pub mod spans;
pub mod traces;
pub mod trees;

use super::test_store::TestStore;
use crate::{DEADLINE, Harness, block_on};

/// Runs one case with a new store.
///
/// # Panics
///
/// If the case fails, or takes longer than [`DEADLINE`].
pub fn run<H: Harness>(case: impl AsyncFnOnce(&mut TestStore)) {
    block_on(async {
        let harness = H::new();
        let mut store = TestStore::of(&harness).await;
        let ended = tokio::time::timeout(DEADLINE, case(&mut store)).await;
        assert!(ended.is_ok(), "the case did not end within {DEADLINE:?}");
    });
}

/// Makes one `#[test]` per case, for the store of the sink that a [`Harness`] describes.
///
/// ```
/// # use telemetry_core::{Options, SinkEntry};
/// # use telemetry_testkit::{Delivered, Harness, READY_MADE};
/// # struct MyHarness;
/// # #[async_trait::async_trait]
/// # impl Harness for MyHarness {
/// #     fn new() -> Self { Self }
/// #     fn entry(&self) -> &'static SinkEntry { &READY_MADE }
/// #     fn options(&self) -> Options { Options::default() }
/// #     async fn delivered(&self) -> Delivered { Delivered::default() }
/// # }
/// telemetry_testkit::store_cases!(MyHarness);
/// ```
#[macro_export]
macro_rules! store_cases {
    ($harness:ty) => {
        $crate::__store_cases! { $harness:
            filters::one_span_must_match_all_filters,
            filters::the_whole_trace_is_found,
            filters::numbers_compare_with_numbers,
            filters::strings_compare_bytewise,
            filters::values_of_different_types_have_no_order,
            filters::bools_and_nulls_are_only_equal_or_not,
            filters::ne_needs_the_key,
            filters::keys_are_literal,
            filters::attributes_win_over_built_in_keys,
            filters::an_open_span_has_no_status_and_no_duration,
            filters::a_value_is_found_among_many_spans,
            traces::newest_first_and_ties_by_id,
            traces::pages_never_overlap,
            traces::every_order_column_works_both_ways,
            traces::nulls_come_last_either_way,
            traces::a_missing_trace_is_none,
            traces::the_root_is_the_earliest_without_a_parent,
            traces::without_a_root_the_earliest_orphan_is_the_root,
            traces::a_trace_spans_its_earliest_start_and_latest_end,
            traces::a_trace_of_logs_alone_is_no_trace,
            spans::an_open_span_is_visible,
            spans::a_second_start_replaces_the_first,
            spans::an_ended_span_is_never_overwritten,
            spans::an_end_joins_the_start_it_finds,
            spans::an_end_waits_for_its_start,
            spans::an_unfinished_span_is_completed_by_its_end,
            spans::a_start_completes_an_end_that_was_given_up,
            spans::an_end_under_the_submitted_trace_follows_its_span,
            spans::the_same_span_id_in_another_trace_is_another_span,
            spans::a_span_keeps_everything,
            spans::a_whole_span_that_comes_again_changes_nothing,
            spans::query_spans_returns_matching_traces_whole,
            spans::query_spans_stops_at_max_depth,
            spans::query_spans_requires_all_attributes_and_returns_only_those,
            spans::query_spans_has_no_limit,
            trees::a_tree_is_ordered_by_depth_then_start,
            trees::max_depth_counts_levels,
            trees::a_missing_span_has_no_tree,
            trees::a_span_id_in_several_traces_means_the_latest,
            trees::a_cycle_of_parents_ends,
            logs::newest_first_and_ties_by_arrival,
            logs::a_late_log_belongs_to_its_span,
            logs::every_filter_narrows,
            logs::a_span_event_has_no_severity,
            logs::limit_and_offset_select_a_part,
            logs::a_log_keeps_everything,
            metrics::one_series_per_label_set_and_unit,
            metrics::both_names_are_one_series,
            metrics::matchers_are_those_of_prometheus,
            metrics::the_window_is_inclusive_at_both_ends,
            metrics::steps_are_aligned_to_the_epoch,
            metrics::the_instrument_decides_how_points_combine,
            metrics::every_aggregation_works,
            metrics::an_instant_query_has_one_point_at_the_end,
            metrics::raw_points_keep_their_values,
            metrics::an_unknown_metric_or_an_empty_window_is_empty,
            metrics::a_stream_keeps_its_latest_mark,
            expiry::an_expired_trace_is_gone_as_a_whole,
            expiry::a_trace_stays_whole_until_its_last_span_expires,
            expiry::signals_without_a_trace_expire_one_by_one,
            expiry::expiry_counts_from_arrival,
            expiry::an_expired_id_can_be_used_again,
        }
    };
}

/// The tests of [`store_cases!`](crate::store_cases). Not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ($harness:ty: $($group:ident::$case:ident),+ $(,)?) => {
        $(
            #[test]
            fn $case() {
                $crate::store_kit::cases::run::<$harness>($crate::store_kit::cases::$group::$case);
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("mod.rs");
        let files = [
            ("expiry", include_str!("expiry.rs")),
            ("filters", include_str!("filters.rs")),
            ("logs", include_str!("logs.rs")),
            ("metrics", include_str!("metrics.rs")),
            ("spans", include_str!("spans.rs")),
            ("traces", include_str!("traces.rs")),
            ("trees", include_str!("trees.rs")),
        ];
        let mut count = 0;
        for (group, text) in files {
            for line in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
                let name = line.split('(').next().expect("a name");
                assert!(list.contains(&format!(" {group}::{name},")), "{group}::{name}");
                count += 1;
            }
        }
        assert!(count > 50, "only {count} cases were read");
    }
}
