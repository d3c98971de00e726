//! The sinks of this build. Only this file depends on the crate's features.

use telemetry_core::{Registry, RegistryError, SinkContext, SinkEntry, SinkError};

/// The sinks of the enabled features. Their crates are linked because they are named here.
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

/// Checks the options of a sink.
type Check = fn(&SinkContext) -> Result<(), SinkError>;

/// The checks of the same sinks, by name.
const CHECKS: &[(&str, Check)] = &[
    #[cfg(feature = "console")]
    ("console", sink_console::check),
    #[cfg(feature = "sqlite")]
    ("sqlite", sink_sqlite::check),
    #[cfg(feature = "otel")]
    ("otel_trace", |context| sink_otel::check("otel_trace", context)),
    #[cfg(feature = "otel")]
    ("otel_metric", |context| sink_otel::check("otel_metric", context)),
    #[cfg(feature = "otel")]
    ("otel_log", |context| sink_otel::check("otel_log", context)),
];

/// Checks the options of a built-in sink as starting it does, without starting it. Only running can check other sinks.
pub(crate) fn check(name: &str, context: &SinkContext) -> Result<(), SinkError> {
    CHECKS.iter().find(|(of, _)| *of == name).map_or(Ok(()), |(_, check)| check(context))
}

/// A built-in sink whose feature is disabled.
#[derive(Debug)]
pub(crate) struct AbsentSink {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The disabled feature.
    pub feature: &'static str,
    /// Its flat key. Llama Stack's configurations contain it, so it is accepted in every build.
    pub flat: Option<&'static str>,
}

/// The sinks of the disabled features.
pub(crate) const ABSENT_SINKS: &[AbsentSink] = &[
    #[cfg(not(feature = "console"))]
    AbsentSink { name: "console", feature: "console", flat: None },
    #[cfg(not(feature = "sqlite"))]
    AbsentSink { name: "sqlite", feature: "sqlite", flat: Some("sqlite_db_path") },
    #[cfg(not(feature = "otel"))]
    AbsentSink { name: "otel_trace", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
    #[cfg(not(feature = "otel"))]
    AbsentSink { name: "otel_metric", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
    #[cfg(not(feature = "otel"))]
    AbsentSink { name: "otel_log", feature: "otel", flat: Some("otel_exporter_otlp_endpoint") },
];

/// Returns the built-in sink of this name if its feature is disabled.
pub(crate) fn absent_sink(name: &str) -> Option<&'static AbsentSink> {
    ABSENT_SINKS.iter().find(|absent| absent.name == name)
}

/// Returns all sinks of this program: those of the enabled features, and those that linked crates
/// register with [`telemetry_core::register_sink!`].
///
/// # Errors
///
/// [`RegistryError`] if two different sinks have the same name.
pub fn registry() -> Result<Registry, RegistryError> {
    Registry::linked(BUILTIN)
}
