//! HTTP below the API: connections, and the limits on requests.

mod connections;
mod decode_limiter;
mod hyper_errors;
mod limit_requests;
mod request_limiter;
mod serve;

pub(crate) use connections::{Connections, possible_connections};
pub(crate) use decode_limiter::DecodeLimiter;
pub(crate) use limit_requests::limit_requests;
pub(crate) use request_limiter::RequestLimiter;
pub(crate) use serve::serve;
