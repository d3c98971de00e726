//! The sink `otel_log`: log lines, sent as they were logged.

use async_trait::async_trait;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use telemetry_core::{
    Batch, BoxFuture, BuiltSink, LogBody, LogRecord, Signal, SignalSet, Sink, SinkContext, SinkEntry,
    SinkError, Text, Written,
};

use crate::client::Client;
use crate::config::{Config, Endpoint, KEYS, Lookup, SignalKind};
use crate::convert::{RECORD_BYTES, any_value, attributes_bytes, key, own_scope, span_id, trace_id};
use crate::error::judge;
use crate::exporter::over_http;
use crate::requests::{Limits, Refusals, Requests};
use crate::resource::Resources;

/// The sink `otel_log`.
pub static LOG: SinkEntry = SinkEntry {
    name: "otel_log",
    summary: "sends logs to an OpenTelemetry collector (OTLP over HTTP)",
    keys: KEYS,
    build,
};
telemetry_core::register_sink!(LOG);

fn build(context: &SinkContext) -> BoxFuture<'_, Result<BuiltSink, SinkError>> {
    Box::pin(async { build_with(context, &crate::process_variable) })
}

/// As the entry's build function, with the environment given.
pub(crate) fn build_with(context: &SinkContext, lookup: Lookup<'_>) -> Result<BuiltSink, SinkError> {
    let config = Config::read(&context.options, lookup, SignalKind::Logs).map_err(crate::unusable_options)?;
    let client = Client::new(&config)?;
    let exporter = over_http(LogExporter::builder().with_http(), &config, &client);
    let sink = LogSink {
        exporter: exporter.build().map_err(crate::no_exporter)?,
        client,
        endpoint: config.endpoint,
        resources: Resources::new(&context.service_name, &config.resource_attributes),
        limits: Limits { signals: config.request_size, bytes: config.request_bytes },
        // Only a logger can make a record.
        logger: SdkLoggerProvider::builder().build().logger("telemetry"),
        scope: own_scope(),
        untold: Refusals::default(),
    };
    Ok(BuiltSink::new(sink, SignalSet::LOG).with_options(config.worker))
}

struct LogSink {
    exporter: LogExporter,
    client: Client,
    endpoint: Endpoint,
    resources: Resources,
    limits: Limits,
    logger: SdkLogger,
    scope: InstrumentationScope,
    untold: Refusals,
}

#[async_trait]
impl Sink for LogSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let logs: Vec<&LogRecord> = batch.iter().filter_map(log).collect();
        let sizes = logs.iter().map(|log| (log.service_name.as_deref(), log_bytes(log)));
        let mut requests = Requests::plan(sizes, self.limits);
        while let Some(range) = requests.next() {
            let part = &logs[range.clone()];
            let records: Vec<SdkLogRecord> = part.iter().filter_map(|log| self.record(log)).collect();
            if records.is_empty() {
                // Span events only: they travel inside their spans.
                requests.settle(range, crate::error::NOTHING_REFUSED)?;
                continue;
            }
            let with_scope: Vec<_> = records.iter().map(|record| (record, &self.scope)).collect();
            self.exporter.set_resource(&self.resources.of(part[0].service_name.as_deref()));
            // An earlier try may have been given up while its answer came.
            self.client.take_answer();
            let result = self.exporter.export(LogBatch::new(&with_scope)).await;
            let verdict = judge(SignalKind::Logs, &self.endpoint, &self.client, &result);
            if let Err(error) = requests.settle(range, verdict) {
                requests.hand_over(&mut self.untold);
                return Err(error);
            }
        }
        requests.finish(batch.len(), &mut self.untold)
    }

    async fn shutdown(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

impl LogSink {
    /// The log in OpenTelemetry's form; a span event is none.
    fn record(&self, log: &LogRecord) -> Option<SdkLogRecord> {
        let LogBody::Message { severity, message } = &log.body else { return None };
        let mut record = self.logger.create_log_record();
        record.set_timestamp(log.timestamp.into());
        record.set_observed_timestamp(log.arrived.into());
        record.set_severity_number(severity_number(*severity));
        record.set_severity_text(severity.as_str());
        record.set_body(match message {
            Text::Borrowed(text) => AnyValue::from(*text),
            Text::Owned(text) => AnyValue::from(text.clone()),
        });
        if let Some(trace) = log.context.trace_id() {
            let span = log.context.span_id().map_or(opentelemetry::SpanId::INVALID, span_id);
            record.set_trace_context(trace_id(trace), span, None);
        }
        record.add_attributes(log.attributes.iter().map(|(name, value)| (key(name), any_value(value))));
        Some(record)
    }
}

fn log(signal: &Signal) -> Option<&LogRecord> {
    match signal {
        Signal::Log(log) => Some(log),
        _ => None,
    }
}

fn log_bytes(log: &LogRecord) -> usize {
    match &log.body {
        LogBody::Message { message, .. } => RECORD_BYTES + message.len() + attributes_bytes(&log.attributes),
        LogBody::SpanEvent { .. } => 0,
    }
}

/// OpenTelemetry's severity numbers: 1, 5, 9, 13, 17, 21.
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
