//! How sinks and stores are tested.
//!
//! # A sink in five minutes
//!
//! Say how your sink is built and how to look at its destination without it. That is a [`Harness`];
//! four methods are enough. Then one line makes a test of every clause of the contract on
//! [`telemetry_core::Sink`], and `docs/sink-contract.md` says how each is checked.
//!
//! ```
//! use std::fs::File;
//! use std::io::Write as _;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use async_trait::async_trait;
//! use telemetry_core::{
//!     Batch, BuiltSink, Key, KeyKind, LogRecord, OptionValue, Options, Signal, SignalSet, Sink,
//!     SinkEntry, SinkError, Written,
//! };
//! use telemetry_testkit::{Delivered, Harness, sink_contract};
//!
//! /// A sink that appends every log to a file, as a line of JSON.
//! struct LogFile(File);
//!
//! #[async_trait]
//! impl Sink for LogFile {
//!     async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
//!         let mut lines = String::new();
//!         for signal in batch.iter() {
//!             let Signal::Log(log) = signal else { continue };
//!             let line = serde_json::to_string(&**log);
//!             lines += &line.map_err(|error| SinkError::reject("not JSON").source(error))?;
//!             lines.push('\n');
//!         }
//!         let written = self.0.write_all(lines.as_bytes());
//!         written.map_err(|error| SinkError::retry("can't write").source(error))?;
//!         Ok(batch.delivered())
//!     }
//!
//!     async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
//!         Ok(())
//!     }
//! }
//!
//! static ENTRY: SinkEntry = SinkEntry {
//!     name: "log-file",
//!     summary: "appends logs to a file",
//!     keys: &[Key { name: "path", kind: KeyKind::Path, flat: None, default: None, help: "the file" }],
//!     build: |context| Box::pin(async {
//!         let unusable = |error| SinkError::close("can't be set up").source(error);
//!         let path = context.options.text("path").map_err(unusable)?.unwrap_or_default();
//!         let file = File::options().create(true).append(true).open(&path);
//!         let file = file.map_err(|error| SinkError::close("can't open").with("path", &path).source(error))?;
//!         Ok(BuiltSink::new(LogFile(file), SignalSet::LOG))
//!     }),
//! };
//!
//! /// The file that the sink writes and the tests read.
//! struct LogFileHarness(String);
//!
//! #[async_trait]
//! impl Harness for LogFileHarness {
//!     fn new() -> Self {
//!         static NUMBER: AtomicU32 = AtomicU32::new(0);
//!         let number = NUMBER.fetch_add(1, Ordering::Relaxed);
//!         let name = format!("log-file-{}-{number}", std::process::id());
//!         Self(std::env::temp_dir().join(name).display().to_string())
//!     }
//!
//!     fn entry(&self) -> &'static SinkEntry {
//!         &ENTRY
//!     }
//!
//!     fn options(&self) -> Options {
//!         Options::from_pairs([("path", OptionValue::Text(self.0.clone()))])
//!     }
//!
//!     async fn delivered(&self) -> Delivered {
//!         let text = std::fs::read_to_string(&self.0).unwrap_or_default();
//!         let logs: Result<Vec<LogRecord>, _> = text.lines().map(serde_json::from_str).collect();
//!         Delivered { logs: logs.unwrap(), ..Delivered::default() }
//!     }
//! }
//!
//! # impl Drop for LogFileHarness { fn drop(&mut self) { let _ = std::fs::remove_file(&self.0); } }
//! sink_contract!(LogFileHarness, lacks {
//!     c9_retry: "a full disk is not simulated",
//!     c11_outage: "a full disk is not simulated",
//!     c12_recovery: "a full disk is not simulated",
//!     c15_secrets: "takes no secret",
//! });
//!
//! # // The tests of a documentation example are not run by themselves.
//! # let broken: Vec<&str> = telemetry_testkit::contract::violations::<LogFileHarness>()
//! #     .into_iter().map(|(clause, _)| clause).collect();
//! # assert_eq!(broken, ["c9_retry", "c11_outage", "c12_recovery", "c15_secrets"]);
//! ```
//!
//! `cargo test` now shows a line per clause; what the sink lacks is *ignored* there with its reason,
//! never passed.
//!
//! # The parts
//!
//! | To | Use |
//! |---|---|
//! | test that a sink keeps the contract | [`Harness`], [`sink_contract!`] |
//! | test that a store answers right | [`store_cases!`], [`store_kit`] |
//! | know the right answer | [`MemoryStore`], the model |
//! | have real-looking input | [`Workload`] |
//! | have the smallest input | [`signals`] |
//! | drive a sink without a pipeline | [`Driver`], [`block_on`] |
//! | see what a pipeline delivers | [`CaptureSink`] |
//! | see how a pipeline bears bad sinks | [`FaultySink`] |
//! | give a pipeline a sink made by the test | [`ready_made`] |
//!
//! Tests wait for conditions with a deadline ([`DEADLINE`]), never for a time.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod capture;
pub mod contract;
mod driver;
mod faulty;
mod harness;
mod model;
mod ready_made;
pub mod signals;
pub mod store_kit;
mod workload;

pub use capture::{CaptureSink, DEADLINE, Seen};
pub use driver::{Driver, block_on};
pub use faulty::{FaultySink, Move, Script};
pub use harness::{Delivered, Harness, SERVICE_NAME};
pub use model::MemoryStore;
pub use ready_made::{READY_MADE, ready_made};
pub use workload::Workload;
