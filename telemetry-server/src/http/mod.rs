//! HTTP, up to the API: connections, and the bounds of requests.

mod admit;
mod connections;
mod descriptors;
mod serve;
mod ticket;
mod told;

pub(crate) use admit::admit;
pub(crate) use connections::Connections;
pub(crate) use descriptors::provide;
pub(crate) use serve::serve;
pub(crate) use ticket::Admission;
