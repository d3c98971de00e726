//! The sink under test, with its file in a temporary folder.

use async_trait::async_trait;
use telemetry_core::query::{LogQuery, SpanQuery};
use telemetry_core::{OptionValue, Options, SinkEntry};
use telemetry_testkit::collect;
use telemetry_testkit::{Delivered, Harness};
use tempfile::TempDir;

/// A database in a temporary folder.
pub(crate) struct Database(pub(crate) TempDir);

impl Database {
    /// The database file.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("trace_store.db")
    }
}

#[async_trait]
impl Harness for Database {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn entry(&self) -> &'static SinkEntry {
        &sink_sqlite::ENTRY
    }

    fn options(&self) -> Options {
        let path = self.path().to_str().unwrap().to_owned();
        Options::from_pairs([("path", OptionValue::Text(path))])
    }

    async fn delivered(&self) -> Delivered {
        let store = self.build().await.unwrap().store.unwrap();
        let spans = collect(store.query_spans(SpanQuery::default())).await.unwrap();
        let logs = collect(store.query_logs(LogQuery { limit: None, ..LogQuery::default() })).await.unwrap();
        Delivered { spans, logs, metrics: Vec::new() }
    }
}
