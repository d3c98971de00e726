//! Starts and stops a provider.

use std::path::Path;
use std::time::Duration;

use telemetry_core::{SinkContext, Text};
use telemetry_pipeline::{Pipeline, PipelineConfig, ShutdownReport, SinkSpec, Telemetry};

use crate::builtin::registry;
use crate::config::Config;
use crate::error::ProviderError;

/// A running provider, which owns the pipeline and its threads. Dropping it shuts it down.
#[derive(Debug)]
pub struct Provider {
    pipeline: Pipeline,
    telemetry: Telemetry,
}

impl Provider {
    /// Starts every chosen sink. Blocks until all sinks are ready, a minute at most.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Start`] with every sink that failed. No sink is left running.
    pub fn start(config: Config) -> Result<Self, ProviderError> {
        for warning in config.warnings() {
            tracing::warn!(target: "telemetry_provider", "{warning}");
        }
        let is_enabled = config.is_enabled();
        let (service_name, sinks, pipeline) = config.into_parts();
        let pipeline = PipelineConfig {
            service_name: Text::Owned(service_name),
            // A new run, since the same configuration may be started more than once.
            run: PipelineConfig::default().run,
            ..pipeline
        };
        let specs = sinks.into_iter().map(|choice| SinkSpec {
            entry: choice.entry,
            context: SinkContext {
                service_name: pipeline.service_name.clone(),
                options: choice.options,
                run: pipeline.run,
            },
        });
        let pipeline = Pipeline::start(specs.collect(), pipeline)?;
        let telemetry = if is_enabled { pipeline.telemetry() } else { Telemetry::disabled() };
        Ok(Self { pipeline, telemetry })
    }

    /// Reads a file as [`Config::from_file`] does and starts it with the linked sinks.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] if two sinks have the same name, if the configuration can't be read or is invalid,
    /// or if sinks did not start.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ProviderError> {
        Self::start(Config::from_file(path.as_ref(), &registry()?)?)
    }

    /// Reads the environment as [`Config::from_environment`] does and starts it with the linked sinks.
    ///
    /// # Errors
    ///
    /// As [`Provider::from_file`].
    pub fn from_environment() -> Result<Self, ProviderError> {
        Self::start(Config::from_environment(&registry()?)?)
    }

    /// Returns the handle for instrumented code. It is disabled if the configuration enables no provider.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Stops accepting events, delivers the accepted ones, then flushes and closes all sinks. Blocks until
    /// this is done, `within` at most.
    pub fn shutdown(self, within: Duration) -> ShutdownReport {
        self.pipeline.shutdown(within)
    }
}
