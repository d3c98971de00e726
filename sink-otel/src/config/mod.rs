//! Reads the sinks' options. Each comes from the configuration, else from OpenTelemetry's environment
//! variables, else from the default.

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
use telemetry_core::{OptionError, OptionValue, Options, SinkContext, SinkError, SinkOptions, SpoolOptions};

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::environment::SignalKind;
use self::environment::{Lookup, Variable, Variables, parse_pairs};
pub(crate) use self::keys::{KEYS, METRIC_KEYS};

/// The encoding of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The version of the semantic conventions that names the attributes of the GenAI histograms.
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

/// The headers of every request. Their values are secret, so `Debug` shows only the names.
#[derive(Clone, Default)]
pub(crate) struct Headers(pub(crate) HeaderMap);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(HeaderName::as_str)).finish()
    }
}

/// The PEM files for https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
}

/// The valid options that all three sinks have.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) signal: SignalKind,
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Headers,
    pub(crate) timeout: Duration,
    pub(crate) compression: Compression,
    pub(crate) tls: TlsFiles,
    /// Sorted by name, which is unique.
    pub(crate) resource_attributes: Vec<(String, String)>,
    pub(crate) request_size: usize,
    pub(crate) request_bytes: usize,
    pub(crate) worker: SinkOptions,
}

/// The valid options that only `otel_metric` has.
#[derive(Clone, Debug)]
pub(crate) struct MetricConfig {
    pub(crate) interval: Duration,
    pub(crate) temporality: Temporality,
    pub(crate) cardinality_limit: usize,
    pub(crate) histograms: Option<GenAiVersion>,
}

impl Config {
    /// Reads the options of the sink for `signal`, with the environment of the process.
    pub(crate) fn from_context(context: &SinkContext, signal: SignalKind) -> Result<Self, SinkError> {
        Self::read(&context.options, &process_variable, signal).map_err(invalid_option)
    }

    fn read(options: &Options, lookup: Lookup<'_>, signal: SignalKind) -> Result<Self, OptionError> {
        let variables = Variables::new(lookup, signal);
        check_protocol(options, variables)?;
        Ok(Self {
            signal,
            endpoint: Endpoint::read(options, variables, signal)?,
            headers: read_headers(options, variables)?,
            timeout: read_duration(
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
    /// Reads the options of `otel_metric`, with the environment of the process.
    pub(crate) fn from_context(context: &SinkContext) -> Result<Self, SinkError> {
        Self::read(&context.options, &process_variable).map_err(invalid_option)
    }

    fn read(options: &Options, lookup: Lookup<'_>) -> Result<Self, OptionError> {
        let variables = Variables::new(lookup, SignalKind::Metrics);
        let gen_ai = options.choice("gen_ai_version", &GEN_AI_VERSIONS)?.unwrap_or(GenAiVersion::V1_37);
        Ok(Self {
            interval: read_duration(
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

fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn invalid_option(error: OptionError) -> SinkError {
    SinkError::close("invalid option").source(error)
}

fn check_protocol(options: &Options, variables: Variables<'_>) -> Result<(), OptionError> {
    const ADVICE: &str = "set `http/protobuf`, the only supported protocol, and an endpoint that accepts OTLP \
                          over HTTP (usually port 4318)";
    if let Some(word) = options.text("protocol")? {
        return if word == "http/protobuf" {
            Ok(())
        } else {
            Err(options.error("protocol", format!("`{word}` is not supported; {ADVICE}")))
        };
    }
    match variables.exporter("PROTOCOL") {
        Some(variable) if variable.value.trim() != "http/protobuf" => {
            Err(variable.error("protocol", format!("`{}` is not supported; {ADVICE}", variable.value.trim())))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_duration(
    options: &Options,
    key: &str,
    variable: impl FnOnce() -> Option<Variable>,
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
    variable: impl FnOnce() -> Option<Variable>,
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
            Err(variable.invalid(key, &format!("one of {}", known.join(", "))))
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

/// Reads the headers. No error shows a value, which is secret.
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
            let message =
                format!("the name or the value of header `{name}` has characters that HTTP does not allow");
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
            variable.invalid("resource_attributes", "`name=value,name=value` with percent-encoded values")
        })?,
        None => Vec::new(),
    };
    attributes.extend(options.map("resource_attributes")?.unwrap_or_default());
    // The last value of a name wins: `dedup_by` keeps the first of the reversed list.
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
        // The client's own time-out limits every request.
        write_timeout: None,
        queue_bytes: match options.size("queue_bytes")? {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => defaults.queue_bytes,
        },
        retry_for: None,
        spool: SpoolOptions::read(options, signal.sink())?,
    })
}
