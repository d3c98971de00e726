//! Options, OpenTelemetry's environment variables and defaults, in this order, per option.

mod endpoint;
mod environment;
mod keys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_sdk::metrics::Temporality;
use telemetry_core::{OptionError, OptionValue, Options, SinkOptions, SpoolOptions};

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::environment::Lookup;
use self::environment::{Variables, parse_pairs};
pub(crate) use self::keys::{KEYS, METRIC_KEYS};

/// What a sink of this crate sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalKind {
    Traces,
    Metrics,
    Logs,
}

impl SignalKind {
    /// The sink's name.
    const fn sink(self) -> &'static str {
        match self {
            Self::Traces => "otel_trace",
            Self::Metrics => "otel_metric",
            Self::Logs => "otel_log",
        }
    }

    /// The word in the names of the environment variables.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// What is appended to a base URL.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// The encoding of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Which names the GenAI histograms' attributes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GenAiVersion {
    V1_36,
    V1_37,
}

const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
const TEMPORALITIES: [(&str, Temporality); 3] = [
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("lowmemory", Temporality::LowMemory),
];
const GEN_AI_VERSIONS: [(&str, GenAiVersion); 2] =
    [("1.36", GenAiVersion::V1_36), ("1.37", GenAiVersion::V1_37)];

/// The headers of every request. Values are secret.
#[derive(Clone, Default)]
pub(crate) struct Headers(pub(crate) HeaderMap);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(HeaderName::as_str)).finish()
    }
}

/// The files for https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
}

/// The checked options that all three sinks have.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Headers,
    pub(crate) timeout: Duration,
    pub(crate) compression: Compression,
    pub(crate) tls: TlsFiles,
    /// Sorted by name; later ones of the same name have won already.
    pub(crate) resource_attributes: Vec<(String, String)>,
    pub(crate) request_size: usize,
    pub(crate) request_bytes: usize,
    pub(crate) worker: SinkOptions,
}

/// The checked options that only `otel_metric` has.
#[derive(Clone, Debug)]
pub(crate) struct MetricConfig {
    pub(crate) interval: Duration,
    pub(crate) temporality: Temporality,
    pub(crate) cardinality_limit: usize,
    pub(crate) histograms: Option<GenAiVersion>,
}

impl Config {
    /// Reads the options of the sink for `signal`.
    pub(crate) fn read(
        options: &Options,
        lookup: Lookup<'_>,
        signal: SignalKind,
    ) -> Result<Self, OptionError> {
        let variables = Variables::new(lookup, signal);
        check_protocol(options, variables)?;
        Ok(Self {
            endpoint: Endpoint::read(options, variables, signal)?,
            headers: read_headers(options, variables)?,
            timeout: read_time(
                options,
                "timeout",
                || variables.exporter("TIMEOUT"),
                Duration::from_secs(10),
            )?,
            compression: read_choice(
                options,
                "compression",
                || variables.exporter("COMPRESSION"),
                &COMPRESSIONS,
                Compression::None,
            )?,
            tls: read_tls(options, variables)?,
            resource_attributes: read_resource(options, variables)?,
            request_size: read_at_least_one(options, "request_size", 2_048)?,
            request_bytes: usize::try_from(options.size("request_bytes")?.unwrap_or(4 << 20))
                .unwrap_or(usize::MAX),
            worker: read_worker(options, signal)?,
        })
    }
}

impl MetricConfig {
    /// Reads the options of `otel_metric`.
    pub(crate) fn read(options: &Options, lookup: Lookup<'_>) -> Result<Self, OptionError> {
        let variables = Variables::new(lookup, SignalKind::Metrics);
        let gen_ai = options.choice("gen_ai_version", &GEN_AI_VERSIONS)?.unwrap_or(GenAiVersion::V1_37);
        Ok(Self {
            interval: read_time(
                options,
                "interval",
                || variables.get("OTEL_METRIC_EXPORT_INTERVAL"),
                Duration::from_secs(60),
            )?,
            temporality: read_choice(
                options,
                "temporality",
                || variables.of_signal("TEMPORALITY_PREFERENCE"),
                &TEMPORALITIES,
                Temporality::Cumulative,
            )?,
            cardinality_limit: read_at_least_one(options, "cardinality_limit", 2_000)?,
            histograms: options.flag("histograms")?.unwrap_or(false).then_some(gen_ai),
        })
    }
}

fn check_protocol(options: &Options, variables: Variables<'_>) -> Result<(), OptionError> {
    const WAY_OUT: &str = "only `http/protobuf` is spoken: set that, and an endpoint that takes OTLP over HTTP \
                           (usually port 4318)";
    if let Some(word) = options.text("protocol")? {
        return if word == "http/protobuf" {
            Ok(())
        } else {
            Err(options.error("protocol", format!("`{word}` can't be used; {WAY_OUT}")))
        };
    }
    match variables.exporter("PROTOCOL") {
        Some(variable) if variable.value.trim() != "http/protobuf" => {
            Err(variable.error("protocol", format!("`{}` can't be used; {WAY_OUT}", variable.value.trim())))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_time(
    options: &Options,
    key: &str,
    variable: impl FnOnce() -> Option<environment::Variable>,
    default: Duration,
) -> Result<Duration, OptionError> {
    match options.duration(key)? {
        Some(time) if time.is_zero() => Err(options.error(key, "must be longer than zero")),
        Some(time) => Ok(time),
        None => variable().map_or(Ok(default), |variable| variable.milliseconds(key)),
    }
}

fn read_choice<T: Copy>(
    options: &Options,
    key: &str,
    variable: impl FnOnce() -> Option<environment::Variable>,
    words: &[(&str, T)],
    default: T,
) -> Result<T, OptionError> {
    if let Some(choice) = options.choice(key, words)? {
        return Ok(choice);
    }
    let Some(variable) = variable() else { return Ok(default) };
    let word = variable.value.trim();
    match words.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(variable.unusable(key, &format!("one of {}", known.join(", "))))
        }
    }
}

fn read_at_least_one(options: &Options, key: &str, default: usize) -> Result<usize, OptionError> {
    match options.integer::<u32>(key)? {
        Some(0) => Err(options.error(key, "must be at least 1")),
        Some(number) => Ok(number as usize),
        None => Ok(default),
    }
}

/// Values never appear in the errors: they are secret.
fn read_headers(options: &Options, variables: Variables<'_>) -> Result<Headers, OptionError> {
    const FORM: &str = "expected a map, or `name=value,name=value` with percent-encoded values";
    let (pairs, variable) = match options.get("headers").map(|entry| &entry.value) {
        Some(OptionValue::Map(_)) => (options.map("headers")?.unwrap_or_default(), None),
        Some(_) => {
            let text = options.text("headers")?.unwrap_or_default();
            (parse_pairs(&text).ok_or_else(|| options.error("headers", FORM))?, None)
        }
        None => match variables.exporter("HEADERS") {
            Some(variable) => {
                let pairs =
                    parse_pairs(&variable.value).ok_or_else(|| variable.error("headers", FORM.to_owned()))?;
                (pairs, Some(variable))
            }
            None => return Ok(Headers::default()),
        },
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let parsed = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value));
        let (Ok(name), Ok(mut value)) = parsed else {
            let message = format!("header `{name}` has a name or a value that HTTP does not allow");
            return Err(match variable {
                Some(variable) => variable.error("headers", message),
                None => options.error("headers", message),
            });
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(Headers(headers))
}

fn read_tls(options: &Options, variables: Variables<'_>) -> Result<TlsFiles, OptionError> {
    let file = |key: &str, suffix: &str| -> Result<Option<PathBuf>, OptionError> {
        let path = options.text(key)?.or_else(|| variables.exporter(suffix).map(|variable| variable.value));
        Ok(path.map(PathBuf::from))
    };
    let files = TlsFiles {
        ca: file("ca_certificate", "CERTIFICATE")?,
        client_certificate: file("client_certificate", "CLIENT_CERTIFICATE")?,
        client_key: file("client_key", "CLIENT_KEY")?,
    };
    match (&files.client_certificate, &files.client_key) {
        (Some(_), None) => Err(options.error("client_key", "a client certificate needs its key")),
        (None, Some(_)) => Err(options.error("client_certificate", "a client key needs its certificate")),
        (Some(_), Some(_)) | (None, None) => Ok(files),
    }
}

fn read_resource(options: &Options, variables: Variables<'_>) -> Result<Vec<(String, String)>, OptionError> {
    let mut attributes = match variables.get("OTEL_RESOURCE_ATTRIBUTES") {
        Some(variable) => parse_pairs(&variable.value).ok_or_else(|| {
            variable.unusable("resource_attributes", "`name=value,name=value` with percent-encoded values")
        })?,
        None => Vec::new(),
    };
    attributes.extend(options.map("resource_attributes")?.unwrap_or_default());
    // The last of a name wins: reversed, it is the first that the stable sort keeps.
    attributes.reverse();
    attributes.sort_by(|one, other| one.0.cmp(&other.0));
    attributes.dedup_by(|later, first| later.0 == first.0);
    Ok(attributes)
}

fn read_worker(options: &Options, signal: SignalKind) -> Result<SinkOptions, OptionError> {
    let defaults = SinkOptions::default();
    Ok(SinkOptions {
        batch_signals: read_at_least_one(options, "batch_size", 8_192)?,
        batch_age: options.duration("batch_age")?.unwrap_or(Duration::from_millis(500)),
        // The client's own time-out bounds every request.
        write_timeout: None,
        queue_bytes: match options.size("queue_bytes")? {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => defaults.queue_bytes,
        },
        retry_for: None,
        spool: SpoolOptions::read(options, signal.sink())?,
    })
}
