//! The `telemetry` program: Llama Stack's telemetry API and an OTLP receiver, over the configured sinks.
//!
//! [`main`] runs the command line. [`router`] is the API alone, for tests and for servers that embed it.
//!
//! ```
//! use telemetry_pipeline::{Pipeline, PipelineConfig};
//! use telemetry_server::{Settings, router};
//!
//! let pipeline = Pipeline::start(Vec::new(), PipelineConfig::default())?;
//! let _api = router(pipeline.telemetry(), &Settings::default());
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```

mod api;
mod cli;
mod datasets;
mod error;
mod exposition;
mod http;
mod limits;
mod output;
mod query_threads;
mod settings;
mod state;
mod tokens;

pub use api::router;
pub use cli::main;
pub use datasets::{DatasetToken, Datasets};
pub use limits::Limits;
pub use settings::Settings;
pub use tokens::Tokens;
