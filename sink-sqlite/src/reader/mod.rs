//! Answers queries, on connections that only read.
//!
//! Each page of an answer is one short read. Between pages a query keeps no connection and no view of the database, so
//! a slow client keeps neither the write-ahead log from being emptied nor others from a connection.

mod filter_traces;
mod logs;
mod metrics;
mod order_traces;
mod session;
mod spans;
mod trace_store;
mod traces;

pub(crate) use session::Reader;
