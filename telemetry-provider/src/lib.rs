//! YAML in, running telemetry out: Llama Stack's `inline::meta-reference` provider.
//!
//! A server adds this crate, chooses sinks with Cargo features, loads its `run.yaml`, and logs:
//!
#![cfg_attr(feature = "sqlite", doc = "```")]
#![cfg_attr(not(feature = "sqlite"), doc = "```no_run")]
//! use std::time::Duration;
//!
//! use telemetry_core::{Severity, attrs};
//! use telemetry_provider::Provider;
//!
//! # let folder = std::env::temp_dir().join(format!("telemetry-provider-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let database = folder.join("traces.db");
//! let run_yaml = format!(
//!     "
//! telemetry:
//! - provider_id: meta-reference
//!   provider_type: inline::meta-reference
//!   config:
//!     service_name: my-server
//!     sinks: [sqlite]
//!     sqlite_db_path: {}
//! ",
//!     database.display()
//! );
//! # let path = folder.join("run.yaml");
//! std::fs::write(&path, run_yaml)?;
//!
//! let provider = Provider::from_file(&path)?;
//! let telemetry = provider.telemetry(); // clone it into whatever logs
//! {
//!     let span = telemetry.span("chat", attrs! { "model_id" => "llama-3.2-3b" });
//!     span.log(Severity::Info, "prompt received");
//! }
//! let report = provider.shutdown(Duration::from_secs(10));
//! assert_eq!(report.ledger.sinks[0].delivered, 3); // the start, the log, the end
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! A whole `run.yaml`, of which only `providers.telemetry` is interpreted, or a document with just the
//! list `telemetry:`. Every value may hold `${env.NAME}`, `${env.NAME:=default}` or
//! `${env.NAME:+value}`. A key of the file wins over the environment, the environment over the default.
//!
//! | Key of `config` | Variable | Default |
//! |---|---|---|
//! | `service_name` | `OTEL_SERVICE_NAME` | empty |
//! | `sinks`, a list or one text with commas | `TELEMETRY_SINKS` | `console,sqlite`, as far as built in |
//! | `sqlite_db_path` | `SQLITE_STORE_DIR` | `~/.llama/runtime/trace_store.db` |
//! | `otel_exporter_otlp_endpoint` | `OTEL_EXPORTER_OTLP_ENDPOINT` | `http://localhost:4318` |
//! | a map named after a sink | what the sink says | |
//! | `pipeline`, a map | | [`PipelineConfig::KEYS`](telemetry_pipeline::PipelineConfig::KEYS) |
//!
//! Nothing is guessed: an unknown key, a value of the wrong type or a variable that is not set is an
//! error with its line, and all errors of a file are reported together. Lines that may hold a secret
//! are not shown.
//!
//! # Sinks of your own
//!
//! A sink lives in a crate of its own, which exports a
//! [`SinkEntry`](telemetry_core::SinkEntry) and announces it with
//! [`register_sink!`](telemetry_core::register_sink). The linker drops crates that nobody names, so
//! the program names it once with [`link_sinks!`]; from then on the YAML can choose it.
//!
//! # Crate features
//!
//! | Feature | Default | Sinks |
//! |---|---|---|
//! | `console` | no | `console` |
//! | `sqlite` | yes | `sqlite` |
//! | `otel` | no | `otel_trace`, `otel_metric`, `otel_log` |
//! | `all` | no | all of these |

// A sink crate that is enabled and not named would silently not be linked.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod builtin;
mod config;
mod environment;
mod error;
mod excerpt;
mod provider;
mod resolver;
mod substitution;
mod suggestion;
mod yaml;

pub use builtin::registry;
pub use config::{Config, ConfigReader, SinkChoice};
pub use environment::{Environment, NotUnicode, ProcessEnvironment, Variables};
pub use error::{ConfigError, Problem, ProviderError};
pub use provider::Provider;

/// Links crates whose sinks the program wants to choose by name.
///
/// A dependency that is only listed in `Cargo.toml` and never named is not linked, and its sinks don't
/// exist for the program. This names it.
///
/// ```
/// // In the program: telemetry_provider::link_sinks!(acme_sink, other_sink);
/// telemetry_provider::link_sinks!(telemetry_core);
/// ```
#[macro_export]
macro_rules! link_sinks {
    ($($sink_crate:ident),+ $(,)?) => {
        $(use $sink_crate as _;)+
    };
}
