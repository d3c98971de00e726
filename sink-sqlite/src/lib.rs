//! The sink `sqlite`: stores everything durably in one local file, and answers queries about it.
//!
//! ```
//! use telemetry_core::SinkEntry;
//!
//! let entry: &SinkEntry = &sink_sqlite::ENTRY;
//! assert_eq!(entry.name, "sqlite");
//! assert!(entry.keys.iter().any(|key| key.name == "path"));
//! ```
//!
//! One connection writes. It stores each batch in one transaction together with the batch's number, so that a batch
//! that comes again is not stored twice. Readers and the writer never wait for one another. Finished spans are only
//! ever appended. A span whose start or end is missing is in a table of its own until both are known. The
//! tables are in `schema/v1.sql`. The views `traces`, `spans` and `span_events` have the reference's columns and are
//! an interface: see `docs/sql-cookbook.md`.

mod background;
mod bulk_statement;
mod checkpoint;
mod config;
mod connect;
mod deletion_clock;
mod error;
mod examine;
mod files;
mod import;
mod postings;
mod purge;
#[cfg(test)]
mod query_plans;
mod reader;
mod rows;
mod schema;
mod sink;
mod size_limit;
mod writer;

pub use config::{Config, Synchronous};
pub use error::OpenError;
pub use examine::{Examination, Rows, Sizes, examine};
pub use import::{ImportError, ImportEvent, ImportReport, import};
pub use sink::{ENTRY, check, open};

telemetry_core::register_sink!(ENTRY);
