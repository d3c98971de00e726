//! The sink keeps the contract, with one file and with rotation.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use telemetry_core::{LogRecord, MetricPoint, OptionValue, Options, SinkEntry, Span};
use telemetry_testkit::{Delivered, Harness};

/// A line of a file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Span(Box<Span>),
    Log(Box<LogRecord>),
    Metric(Box<MetricPoint>),
}

/// A new folder for one test.
struct Folder {
    folder: tempfile::TempDir,
    max_file_size: i64,
}

impl Folder {
    fn new(max_file_size: i64) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), max_file_size }
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    fn options(&self) -> Options {
        let path = self.logs().join("t.ndjson").display().to_string();
        Options::from_pairs([
            ("path", OptionValue::Text(path)),
            ("max_file_size", OptionValue::Integer(self.max_file_size)),
            ("max_files", OptionValue::Integer(1_000)),
        ])
    }

    /// Reads all lines, the oldest file first.
    fn delivered(&self) -> Delivered {
        let number = |path: &Path| path.extension().and_then(|end| end.to_str()?.parse::<u32>().ok());
        let files = fs::read_dir(self.logs()).into_iter().flatten();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort_by_key(|path| std::cmp::Reverse(number(path).unwrap_or(0)));
        let mut delivered = Delivered::default();
        for file in files {
            for line in fs::read_to_string(file).unwrap().lines() {
                match serde_json::from_str(line).unwrap() {
                    Line::Span(span) => delivered.spans.push(*span),
                    Line::Log(log) => delivered.logs.push(*log),
                    Line::Metric(point) => delivered.metrics.push(*point),
                }
            }
        }
        delivered
    }

    /// Moves the folder away and puts a file in its place.
    fn break_folder(&self) {
        fs::rename(self.logs(), self.folder.path().join("away")).unwrap();
        fs::write(self.logs(), "in the way").unwrap();
    }

    fn restore_folder(&self) {
        fs::remove_file(self.logs()).unwrap();
        fs::rename(self.folder.path().join("away"), self.logs()).unwrap();
    }
}

/// Defines a harness. The clauses are tested with each.
macro_rules! harness {
    ($name:ident, $max_file_size:literal) => {
        struct $name(Folder);

        #[async_trait]
        impl Harness for $name {
            fn new() -> Self {
                Self(Folder::new($max_file_size))
            }

            fn entry(&self) -> &'static SinkEntry {
                &sink_ndjson::ENTRY
            }

            fn options(&self) -> Options {
                self.0.options()
            }

            async fn delivered(&self) -> Delivered {
                self.0.delivered()
            }

            /// The events of a span have their own lines.
            fn normalize(&self, delivered: &mut Delivered) {
                for span in &mut delivered.spans {
                    span.events.clear();
                }
            }

            async fn break_destination(&self) -> bool {
                self.0.break_folder();
                true
            }

            async fn restore_destination(&self) {
                self.0.restore_folder();
            }
        }
    };
}

mod one_file {
    use super::*;

    harness!(OneFile, 1_000_000_000);
    telemetry_testkit::sink_contract!(OneFile, lacks { c15_secrets: "takes no secret" });
}

mod many_files {
    use super::*;

    harness!(ManyFiles, 2_000);
    telemetry_testkit::sink_contract!(ManyFiles, lacks { c15_secrets: "takes no secret" });
}
