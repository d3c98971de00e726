//! The sink `sqlite`: everything in one local file, durable, and queryable afterwards.
//!
//! ```
//! use telemetry_core::SinkEntry;
//!
//! let entry: &SinkEntry = &sink_sqlite::ENTRY;
//! assert_eq!(entry.name, "sqlite");
//! assert!(entry.keys.iter().any(|key| key.name == "path"));
//! ```
//!
//! One connection writes, each batch in one transaction with its number, so that a batch tried again
//! is not stored twice. Readers never block it, nor wait for it. Finished spans are only ever
//! appended; what is half known lies apart until its other half comes. The tables are in
//! `schema/v1.sql`; the views `traces`, `spans` and `span_events` have the reference's columns and
//! are an interface: see `docs/sql-cookbook.md`.

mod checkpoint;
mod codes;
mod config;
mod connect;
mod doctor;
mod error;
mod identity;
mod import;
mod lock;
mod postings;
mod purge;
mod reader;
mod reindex;
mod rows;
mod schema;
mod services;
mod sink;
mod statement;
mod writer;

pub use config::{Config, Synchronous};
pub use doctor::{Examination, Rows, Sizes, examine};
pub use error::OpenError;
pub use import::{ImportError, ImportEvent, ImportReport, import};
pub use sink::{ENTRY, open};

telemetry_core::register_sink!(ENTRY);
