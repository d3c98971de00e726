//! Other programs that the server works with: how to get them, start them and query them.

mod go;
pub(crate) mod install;
mod process;
mod prometheus;

pub(crate) use process::{Process, encoded, free_port, get_json, wait_for};
pub(crate) use prometheus::{Prometheus, documented_queries, value};
