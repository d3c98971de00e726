//! The database that `import` and `doctor` use: the one that `serve` would use.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use telemetry_provider::{ConfigReader, registry};

use crate::settings::Settings;

/// The arguments that choose a database.
#[derive(Debug, Args)]
pub(super) struct DatabaseArguments {
    /// The database [default: the one that `telemetry serve` would use]
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// A run.yaml of Llama Stack, or only its `telemetry:` list, that names the database
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DatabaseArguments {
    /// Returns the options of the configured sink `sqlite`, with the path of `--database` if that is given.
    pub(super) fn options(&self) -> Result<sink_sqlite::Config, Box<dyn Error>> {
        if let (Some(database), None) = (&self.database, &self.config) {
            return Ok(sink_sqlite::Config::at(database));
        }
        let registry = registry()?;
        let reader = ConfigReader::new(&registry).server_keys(Settings::KEYS);
        let config = match &self.config {
            Some(file) => reader.read_file(file)?,
            None => reader.read_environment()?,
        };
        let Some(choice) = config.sinks().iter().find(|choice| choice.entry.name == sink_sqlite::ENTRY.name)
        else {
            return Err("no sink `sqlite` is configured; choose the database with --database".into());
        };
        let mut options = sink_sqlite::Config::from_options(&choice.options)?;
        if let Some(database) = &self.database {
            options.path.clone_from(database);
        }
        Ok(options)
    }
}

/// Creates a runtime for one command.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
