//! The errors of this crate.

use std::path::PathBuf;

use telemetry_core::RegistryError;
use telemetry_pipeline::StartError;

use crate::problem::Problem;

/// A configuration that can't be read or is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is invalid.
    #[error("{}", list_problems(file.as_ref(), problems))]
    Invalid {
        /// The file, if the configuration comes from one.
        file: Option<PathBuf>,
        /// All problems, in the order of the document. At least one.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// Returns the problems of the configuration. Empty if the file could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            Self::Read { .. } => &[],
        }
    }
}

fn list_problems(file: Option<&PathBuf>, problems: &[Problem]) -> String {
    let name = file.map_or("configuration".to_owned(), |file| file.display().to_string());
    match problems {
        [problem] => format!("{name}: {problem}"),
        problems => {
            let mut text = format!("{name}: {} problems", problems.len());
            for problem in problems {
                text = format!("{text}\n{problem}");
            }
            text
        }
    }
}

/// A provider that did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Two linked sinks have the same name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The configuration can't be read or is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Sinks, or the pipeline, did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}
