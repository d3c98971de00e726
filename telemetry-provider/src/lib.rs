//! Reads a YAML configuration and starts telemetry from it, as Llama Stack's provider
//! `inline::meta-reference` does.
//!
//! A program depends on this crate, chooses sinks with Cargo features, and starts a [`Provider`] from its
//! `run.yaml`. It then logs through the provider's handle, which is cheap to clone:
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
//! let telemetry = provider.telemetry();
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
//! # The configuration
//!
//! The file is either a whole `run.yaml`, of which only the list `providers.telemetry` is read, or a
//! document with only the list `telemetry:`. Every value may contain `${env.NAME}`,
//! `${env.NAME:=default}` or `${env.NAME:+value}`. A key of the file wins over the environment, and the
//! environment wins over the default.
//!
//! | Key of `config` | Variable | Default |
//! |---|---|---|
//! | `service_name` | `OTEL_SERVICE_NAME` | empty |
//! | `sinks`, a list or a text with commas | `TELEMETRY_SINKS` | those of `console,sqlite` that are built in |
//! | `sqlite_db_path` | `SQLITE_STORE_DIR` | `~/.llama/runtime/trace_store.db` |
//! | `otel_exporter_otlp_endpoint` | `OTEL_EXPORTER_OTLP_ENDPOINT` | `http://localhost:4318` |
//! | a map with the name of a sink | see the sink | see the sink |
//! | `pipeline`, a map | | [`PipelineConfig::KEYS`](telemetry_pipeline::PipelineConfig::KEYS) |
//!
//! [`Config`] is the result. A program that starts without a file, or that adds a redaction hook, creates
//! one and passes it to [`Provider::start`].
//!
//! # Errors
//!
//! An unknown key, a value of the wrong type and a variable that is not set are errors. All errors of a
//! file are reported together, each with its line. Lines that may contain a secret are not shown.
//!
//! ```
//! use telemetry_provider::{Config, Variables, registry};
//!
//! let text = "
//! telemetry:
//! - provider_id: meta-reference
//!   provider_type: inline::meta-reference
//!   config:
//!     sinks: []
//!     servce_name: my-server";
//! let error = Config::from_yaml(text, &registry()?, &Variables::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "configuration: telemetry[0].config.servce_name (line 7, column 5): \
//!      unknown key `servce_name`; did you mean `service_name`?
//!   7 |     servce_name: my-server
//!     |     ^"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Your own sinks
//!
//! A sink is a crate that exports a [`SinkEntry`](telemetry_core::SinkEntry) and registers it with
//! [`register_sink!`](telemetry_core::register_sink). The linker drops a crate that the program does not
//! use, so the program names it once with [`link_sinks!`]. The configuration can then choose the sink by
//! its name.
//!
//! # Crate features
//!
//! | Feature | Default | Sinks |
//! |---|---|---|
//! | `console` | no | `console` |
//! | `sqlite` | yes | `sqlite` |
//! | `otel` | no | `otel_trace`, `otel_metric`, `otel_log` |
//! | `all` | no | all of these |

// An enabled sink crate that `builtin.rs` does not name would silently not be linked.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod builtin;
mod config;
mod environment;
mod error;
mod expand;
mod problem;
mod provider;
mod value_reader;
mod yaml;

pub use builtin::registry;
pub use config::{Config, ConfigReader, SinkChoice};
pub use environment::{Environment, NotUnicode, ProcessEnvironment, Variables};
pub use error::{ConfigError, ProviderError};
pub use problem::Problem;
pub use provider::Provider;

/// Links crates with sinks, so that a configuration can choose these sinks by name.
///
/// A dependency that is only listed in `Cargo.toml` and not used in code is not linked, and its sinks are
/// then unknown to the program.
///
/// ```
/// // A program would write `telemetry_provider::link_sinks!(acme_sink, other_sink);`.
/// telemetry_provider::link_sinks!(telemetry_core);
/// ```
#[macro_export]
macro_rules! link_sinks {
    ($($sink_crate:ident),+ $(,)?) => {
        $(use $sink_crate as _;)+
    };
}
