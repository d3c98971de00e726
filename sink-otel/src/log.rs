//! Exports logs: converts each to OpenTelemetry's `SdkLogRecord`.

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use telemetry_core::{LogBody, LogRecord, Signal, SignalSet};

use crate::config::{Config, SignalKind};
use crate::convert::{any_value, key, own_scope, span_id, string, trace_id};
use crate::http_client::Client;
use crate::sink::Exporter;

/// Exports log messages. Span events are part of their spans and are left out here.
pub(crate) struct LogExporter {
    exporter: opentelemetry_otlp::LogExporter,
    logger: SdkLogger,
    scope: InstrumentationScope,
}

impl Exporter for LogExporter {
    type Item = LogRecord;

    const SIGNAL: SignalKind = SignalKind::Logs;
    const INTEREST: SignalSet = SignalSet::LOG;

    fn build(config: &Config, client: &Client) -> Result<Self, ExporterBuildError> {
        Ok(Self {
            exporter: client
                .configure(opentelemetry_otlp::LogExporter::builder().with_http(), config)
                .build()?,
            // Only a logger can create a record.
            logger: SdkLoggerProvider::builder().build().logger("telemetry"),
            scope: own_scope(),
        })
    }

    fn item(signal: &Signal) -> Option<&LogRecord> {
        match signal {
            Signal::Log(log) => Some(log),
            _ => None,
        }
    }

    fn service(log: &LogRecord) -> Option<&str> {
        log.service_name.as_deref()
    }

    async fn export(&mut self, logs: &[&LogRecord], resource: &Resource) -> OTelSdkResult {
        let records: Vec<SdkLogRecord> = logs.iter().filter_map(|log| self.record(log)).collect();
        if records.is_empty() {
            return Ok(());
        }
        self.exporter.set_resource(resource);
        let with_scope: Vec<_> = records.iter().map(|record| (record, &self.scope)).collect();
        self.exporter.export(LogBatch::new(&with_scope)).await
    }
}

impl LogExporter {
    /// Converts a log message. Returns `None` for a span event.
    fn record(&self, log: &LogRecord) -> Option<SdkLogRecord> {
        let LogBody::Message { severity, message } = &log.body else { return None };
        let mut record = self.logger.create_log_record();
        record.set_timestamp(log.timestamp.into());
        record.set_observed_timestamp(log.arrived.into());
        record.set_severity_number(severity_number(*severity));
        record.set_severity_text(severity.as_str());
        record.set_body(AnyValue::String(string(message)));
        if let Some(trace) = log.context.trace_id() {
            let span = log.context.span_id().map_or(opentelemetry::SpanId::INVALID, span_id);
            record.set_trace_context(trace_id(trace), span, None);
        }
        record.add_attributes(log.attributes.iter().map(|(name, value)| (key(name), any_value(value))));
        Some(record)
    }
}

/// Converts a severity to the lowest of OpenTelemetry's four numbers for it: 1, 5, 9, 13, 17 or 21.
fn severity_number(severity: telemetry_core::Severity) -> Severity {
    match severity {
        telemetry_core::Severity::Verbose => Severity::Trace,
        telemetry_core::Severity::Debug => Severity::Debug,
        telemetry_core::Severity::Info => Severity::Info,
        telemetry_core::Severity::Warn => Severity::Warn,
        telemetry_core::Severity::Error => Severity::Error,
        telemetry_core::Severity::Critical => Severity::Fatal,
    }
}
