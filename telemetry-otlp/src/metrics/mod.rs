//! Metrics: deltas and gauges are stored as they are, cumulative streams become increments.

mod convert;
mod exponential;
mod histogram;
mod reading;
mod series;
mod streams;

pub(crate) use convert::convert;
pub use reading::CumulativePoint;
pub use streams::{Increments, Streams};
