//! `GET /metrics`: what was logged, the server itself, and the ledger, in Prometheus's text format.

mod http_metrics;
mod logged_metrics;
mod names;
mod page;

pub(crate) use http_metrics::HttpMetrics;
pub(crate) use logged_metrics::Sample;
pub(crate) use page::{CONTENT_TYPE, Exposition};
