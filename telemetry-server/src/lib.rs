//! The `telemetry` program: Llama Stack's telemetry HTTP API and an OTLP
//! receiver over the sinks of a configuration.
//!
//! [`main`] is the command line; [`router`] is the API alone, for tests and for servers that embed it.
//!
//! ```
//! use telemetry_pipeline::{Pipeline, PipelineConfig};
//! use telemetry_server::{Settings, router};
//!
//! let pipeline = Pipeline::start(Vec::new(), PipelineConfig::default())?;
//! let _api = router(pipeline.telemetry(), &Settings::default());
//! # Ok::<(), telemetry_pipeline::StartError>(())
//! ```

mod ack;
mod api;
mod auth;
mod body;
mod cli;
mod database;
mod datasets;
mod decoders;
mod doctor;
mod error;
mod exposition;
mod feedback;
mod http;
mod import;
mod limits;
mod otlp;
mod path;
mod serve;
mod settings;
mod state;
mod stream;
mod trace_header;

pub use api::router;
pub use auth::Tokens;
pub use cli::main;
pub use datasets::{DatasetToken, Datasets};
pub use limits::Limits;
pub use otlp::{OtlpEncoding, OtlpReading, OtlpSignal, read_otlp};
pub use settings::Settings;
