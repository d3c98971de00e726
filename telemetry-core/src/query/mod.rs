//! Queries, and the code that defines what they mean.
//!
//! A query holds checked values: a sort column is an enum, a regular expression is compiled. All stores
//! use the functions of this module, so that all stores return the same answers.

mod filter;
mod matcher;
mod metrics;
mod queries;
mod tree;

pub use filter::{Filter, FilterOp, builtin_value, matches_all};
pub use matcher::{LabelMatcher, MAX_MATCHERS, MAX_PATTERN_BYTES, MatcherError, MatcherOp};
pub use metrics::{
    Aggregation, Fold, Granularity, GranularityError, MAX_RAW_POINTS, MetricPointValue, MetricQuery,
    MetricSeries, QueryType, Sample, aggregate, default_aggregation,
};
pub use queries::{LogQuery, Order, OrderColumn, SpanQuery, TraceQuery, TreeQuery};
pub use tree::{
    SpanTree, SpanTreeNode, newest_first, root_of, spans_from_root, summarize, tree_of, with_attributes,
};
