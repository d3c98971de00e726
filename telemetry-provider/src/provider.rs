//! A running provider.

use std::path::Path;
use std::time::Duration;

use telemetry_core::{SinkContext, Text};
use telemetry_pipeline::{Pipeline, PipelineConfig, ShutdownReport, SinkSpec, Telemetry};

use crate::{Config, ProviderError, registry};

/// A running provider: owns the pipeline and its threads. Dropping it shuts it down.
#[derive(Debug)]
pub struct Provider {
    pipeline: Pipeline,
    telemetry: Telemetry,
}

impl Provider {
    /// Starts every chosen sink and returns when all are ready. Blocking, for as long as the slowest
    /// sink takes, a minute at most.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Start`] with every sink that failed; none is left running.
    pub fn start(config: Config) -> Result<Self, ProviderError> {
        for warning in config.warnings() {
            tracing::warn!(target: "telemetry_provider", "{warning}");
        }
        let is_enabled = config.is_enabled();
        let (service_name, sinks, pipeline) = config.into_parts();
        let pipeline = PipelineConfig {
            service_name: Text::Owned(service_name),
            // Of this start: a configuration may be started more than once.
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

    /// Reads a file as [`Config::from_file`] does, and starts what it says with the linked sinks.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]: two sinks of one name, an unusable configuration, or sinks that did not start.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ProviderError> {
        Self::start(Config::from_file(path.as_ref(), &registry()?)?)
    }

    /// Starts what the environment says, as [`Config::from_environment`] does.
    ///
    /// # Errors
    ///
    /// As [`Provider::from_file`].
    pub fn from_environment() -> Result<Self, ProviderError> {
        Self::start(Config::from_environment(&registry()?)?)
    }

    /// The door for instrumented code. Of a configuration that enables no provider, one that is shut.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Closes the door, delivers what was accepted, flushes and closes all sinks, and returns after
    /// `within` at the latest. Blocking.
    pub fn shutdown(self, within: Duration) -> ShutdownReport {
        self.pipeline.shutdown(within)
    }
}
