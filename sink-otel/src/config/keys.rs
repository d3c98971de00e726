//! The options of the three sinks.

use telemetry_core::{Key, KeyKind, SpoolOptions};

const fn key(name: &'static str, kind: KeyKind, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, kind, flat: None, default, help }
}

// A default given as `default` wins over the environment. Where the environment may set an option, the
// default is therefore only part of the help text.
const ENDPOINT: Key = Key {
    flat: Some("otel_exporter_otlp_endpoint"),
    ..key(
        "endpoint",
        KeyKind::Text,
        None,
        "base URL of the collector, `/v1/…` is appended; else $OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318",
    )
};
const PROTOCOL: Key = key(
    "protocol",
    KeyKind::Choice(&["http/protobuf"]),
    None,
    "the only supported protocol; overrides $OTEL_EXPORTER_OTLP_PROTOCOL",
);
const HEADERS: Key = key(
    "headers",
    KeyKind::Secret,
    None,
    "headers of every request, a map or `name=value,…`; else $OTEL_EXPORTER_OTLP_HEADERS",
);
const TIMEOUT: Key = key(
    "timeout",
    KeyKind::Duration,
    None,
    "how long to wait for an answer before trying again; else $OTEL_EXPORTER_OTLP_TIMEOUT (in ms), else 10s",
);
const COMPRESSION: Key = key(
    "compression",
    KeyKind::Choice(&["none", "gzip", "zstd"]),
    None,
    "compression of requests; else $OTEL_EXPORTER_OTLP_COMPRESSION, else none",
);
const CA: Key = key(
    "ca_certificate",
    KeyKind::Path,
    None,
    "PEM file of the authorities trusted for https, instead of the system's; else $OTEL_EXPORTER_OTLP_CERTIFICATE",
);
const CLIENT_CERTIFICATE: Key = key(
    "client_certificate",
    KeyKind::Path,
    None,
    "PEM file that identifies this program to the collector; else $OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
);
const CLIENT_KEY: Key = key(
    "client_key",
    KeyKind::Path,
    None,
    "PEM file of the client certificate's key; else $OTEL_EXPORTER_OTLP_CLIENT_KEY",
);
const RESOURCE: Key = key(
    "resource_attributes",
    KeyKind::Map,
    None,
    "attributes of this process, added to those in $OTEL_RESOURCE_ATTRIBUTES",
);
const BATCH_SIZE: Key =
    key("batch_size", KeyKind::Integer, Some("8192"), "largest number of signals in a batch");
const BATCH_AGE: Key =
    key("batch_age", KeyKind::Duration, Some("500ms"), "how long signals wait for a batch to fill");
const REQUEST_SIZE: Key =
    key("request_size", KeyKind::Integer, Some("2048"), "largest number of signals in a request");
const REQUEST_BYTES: Key =
    key("request_bytes", KeyKind::Size, Some("4MiB"), "largest estimated size of a request, uncompressed");
const QUEUE_BYTES: Key = key(
    "queue_bytes",
    KeyKind::Size,
    Some("64MiB"),
    "largest amount of data that waits in memory while the collector is slow",
);

/// The options of `otel_trace` and `otel_log`.
pub(crate) const KEYS: &[Key] = &[
    ENDPOINT,
    PROTOCOL,
    HEADERS,
    TIMEOUT,
    COMPRESSION,
    CA,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    RESOURCE,
    BATCH_SIZE,
    BATCH_AGE,
    REQUEST_SIZE,
    REQUEST_BYTES,
    QUEUE_BYTES,
    SpoolOptions::PATH,
    SpoolOptions::SIZE,
];

/// The options of `otel_metric`. It sends aggregates, which are so few that neither requests nor memory
/// need a limit.
pub(crate) const METRIC_KEYS: &[Key] = &[
    ENDPOINT,
    PROTOCOL,
    HEADERS,
    TIMEOUT,
    COMPRESSION,
    CA,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    RESOURCE,
    key(
        "interval",
        KeyKind::Duration,
        None,
        "time between two exports; else $OTEL_METRIC_EXPORT_INTERVAL (in ms), else 60s",
    ),
    key(
        "temporality",
        KeyKind::Choice(&["cumulative", "delta", "lowmemory"]),
        None,
        "temporality of the exported sums; else $OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, else cumulative",
    ),
    key(
        "cardinality_limit",
        KeyKind::Integer,
        Some("2000"),
        "label sets per metric; points of further label sets go to the series `otel.metric.overflow` and are counted",
    ),
    key(
        "histograms",
        KeyKind::Flag,
        Some("false"),
        "also export durations and token counts as histograms of OpenTelemetry's conventions",
    ),
    key(
        "gen_ai_version",
        KeyKind::Choice(&["1.36", "1.37"]),
        Some("1.37"),
        "version of the semantic conventions that names the GenAI histograms' attributes",
    ),
];
