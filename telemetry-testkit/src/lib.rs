//! Tests for sinks and stores: your own and the built-in ones.
//!
//! # Test a sink
//!
//! Implement [`Harness`] for your sink. It says how the sink is built, and how a test reads the destination without
//! help from the sink. Most sinks need four methods. Then [`sink_contract!`] makes one test per clause of the contract
//! on [`telemetry_core::Sink`]. `docs/sink-contract.md` explains how each clause is checked.
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
//! /// A sink that appends each log to a file, as a line of JSON.
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
//!         let invalid = |error| SinkError::close("the options can't be used").source(error);
//!         let path = context.options.text("path").map_err(invalid)?.unwrap_or_default();
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
//! # // rustdoc does not run the tests of an example.
//! # let broken: Vec<&str> = telemetry_testkit::contract::violations::<LogFileHarness>()
//! #     .into_iter().map(|(clause, _)| clause).collect();
//! # assert_eq!(broken, ["c9_retry", "c11_outage", "c12_recovery", "c15_secrets"]);
//! ```
//!
//! `cargo test` now shows one line per clause. A clause that the sink lacks is shown as *ignored* with its reason,
//! never as passed.
//!
//! # Test a store
//!
//! A store must also answer queries as every other store does. With the feature `store`, `store_cases!` makes one test
//! per sentence about queries, and `store_kit` compares answers to random questions with those of the model,
//! [`MemoryStore`].
//!
//! # Test code that uses sinks
//!
//! | To | Use |
//! |---|---|
//! | create small signals | [`signals`] |
//! | write to a sink, and read a store, without a pipeline | [`Driver`], [`collect`], [`block_on`] |
//! | see what a pipeline delivers | [`CaptureSink`] |
//! | see how a pipeline copes with bad sinks | [`FaultySink`] |
//! | pass a sink that the test has made to a pipeline | [`ready_made`] |
//!
//! Tests wait for a condition with a deadline ([`DEADLINE`]). They never sleep.
//!
//! # Crate features
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `store` | no | `store_cases!` and `store_kit`, and with them the dependency `proptest` |

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod capture;
pub mod contract;
mod driver;
mod faulty;
mod harness;
mod model;
mod ready_made;
pub mod signals;
#[cfg(feature = "store")]
pub mod store_kit;

pub use capture::{CaptureSink, DEADLINE, Seen};
pub use driver::{Driver, block_on, collect};
pub use faulty::{FaultySink, Move, Script};
pub use harness::{Delivered, Harness, SERVICE_NAME};
pub use model::MemoryStore;
pub use ready_made::{READY_MADE, ready_made};
