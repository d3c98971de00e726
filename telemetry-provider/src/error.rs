//! What can be wrong with a configuration, and why a provider did not start.

use std::fmt;
use std::path::PathBuf;

use telemetry_core::{Location, RegistryError};
use telemetry_pipeline::StartError;

/// One thing that is wrong with a configuration: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is. The path is empty when the text is no YAML, and for a variable of the environment.
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// The line with a caret under the column, unless it may hold a secret.
    pub excerpt: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { path, line, column, variable } = &self.location;
        f.write_str(path)?;
        if let (Some(line), Some(column)) = (line, column) {
            if path.is_empty() {
                write!(f, "line {line}, column {column}")?;
            } else {
                write!(f, " (line {line}, column {column})")?;
            }
        }
        match variable {
            Some(variable) if path.is_empty() => write!(f, "${variable}")?,
            Some(variable) => write!(f, " (from ${variable})")?,
            None => {}
        }
        write!(f, ": {}", self.message)?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is wrong; all that could be found in one reading.
    #[error("{}", listing(file.as_ref(), problems))]
    Invalid {
        /// The file, if it came from one.
        file: Option<PathBuf>,
        /// What is wrong, in the order of the document; at least one.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// What is wrong with the configuration; nothing when it could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            Self::Read { .. } => &[],
        }
    }
}

fn listing(file: Option<&PathBuf>, problems: &[Problem]) -> String {
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

/// Why a provider did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Two linked sinks have one name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Sinks did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}
