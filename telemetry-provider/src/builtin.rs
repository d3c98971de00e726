//! Which sinks this build has. The one file that knows the crate's features.

use telemetry_core::{Registry, RegistryError, SinkEntry};

/// The sinks of the enabled features. Naming them here is what links their crates.
const BUILTIN: &[&SinkEntry] = &[
    #[cfg(feature = "console")]
    &sink_console::ENTRY,
    #[cfg(feature = "sqlite")]
    &sink_sqlite::ENTRY,
    #[cfg(feature = "otel")]
    &sink_otel::TRACE,
    #[cfg(feature = "otel")]
    &sink_otel::METRIC,
    #[cfg(feature = "otel")]
    &sink_otel::LOG,
];

/// A sink that this build could have had.
#[derive(Debug)]
pub(crate) struct Absent {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The feature that is off.
    pub feature: &'static str,
    /// Its flat key; every Llama Stack configuration holds it, whatever the build.
    pub flat: Option<&'static str>,
}

/// The sinks of the features that are off.
pub(crate) const ABSENT: &[Absent] = &[
    #[cfg(not(feature = "console"))]
    Absent { name: "console", feature: "console", flat: None },
    #[cfg(not(feature = "sqlite"))]
    Absent { name: "sqlite", feature: "sqlite", flat: Some("sqlite_db_path") },
    #[cfg(not(feature = "otel"))]
    Absent { name: "otel_trace", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
    #[cfg(not(feature = "otel"))]
    Absent { name: "otel_metric", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
    #[cfg(not(feature = "otel"))]
    Absent { name: "otel_log", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
];

/// The built-in sink of this name whose feature is off.
pub(crate) fn absent(name: &str) -> Option<&'static Absent> {
    ABSENT.iter().find(|absent| absent.name == name)
}

/// All sinks this program has: those of the enabled features, and every sink that a linked crate
/// announces with [`telemetry_core::register_sink!`].
///
/// # Errors
///
/// [`RegistryError`] when two different sinks have one name.
pub fn registry() -> Result<Registry, RegistryError> {
    Registry::linked(BUILTIN)
}
