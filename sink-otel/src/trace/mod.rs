//! The sink `otel_trace`: finished spans, sent as they were logged.

mod convert;

use async_trait::async_trait;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanExporter as _;
use telemetry_core::{
    Batch, BoxFuture, BuiltSink, Signal, SignalSet, Sink, SinkContext, SinkEntry, SinkError, Span, Written,
};

use crate::client::Client;
use crate::config::{Config, Endpoint, KEYS, Lookup, SignalKind};
use crate::error::judge;
use crate::exporter::over_http;
use crate::requests::{Limits, Refusals, Requests};
use crate::resource::Resources;

/// The sink `otel_trace`.
pub static TRACE: SinkEntry = SinkEntry {
    name: "otel_trace",
    summary: "sends finished spans to an OpenTelemetry collector (OTLP over HTTP)",
    keys: KEYS,
    build,
};
telemetry_core::register_sink!(TRACE);

fn build(context: &SinkContext) -> BoxFuture<'_, Result<BuiltSink, SinkError>> {
    Box::pin(async { build_with(context, &crate::process_variable) })
}

/// As the entry's build function, with the environment given.
pub(crate) fn build_with(context: &SinkContext, lookup: Lookup<'_>) -> Result<BuiltSink, SinkError> {
    let config =
        Config::read(&context.options, lookup, SignalKind::Traces).map_err(crate::unusable_options)?;
    let client = Client::new(&config)?;
    let exporter = over_http(SpanExporter::builder().with_http(), &config, &client);
    let sink = TraceSink {
        exporter: exporter.build().map_err(crate::no_exporter)?,
        client,
        endpoint: config.endpoint,
        resources: Resources::new(&context.service_name, &config.resource_attributes),
        limits: Limits { signals: config.request_size, bytes: config.request_bytes },
        untold: Refusals::default(),
    };
    Ok(BuiltSink::new(sink, SignalSet::SPAN_ENDED).with_options(config.worker))
}

/// No `Debug`, like its siblings: the exporter would show the environment's headers.
struct TraceSink {
    exporter: SpanExporter,
    client: Client,
    endpoint: Endpoint,
    resources: Resources,
    limits: Limits,
    untold: Refusals,
}

#[async_trait]
impl Sink for TraceSink {
    async fn write(&mut self, batch: &Batch<'_>) -> Result<Written, SinkError> {
        let spans: Vec<&Span> = batch.iter().filter_map(ended).collect();
        let sizes = spans.iter().map(|span| (span.service_name.as_deref(), convert::span_bytes(span)));
        let mut requests = Requests::plan(sizes, self.limits);
        while let Some(range) = requests.next() {
            let service = spans[range.start].service_name.as_deref();
            self.exporter.set_resource(&self.resources.of(service));
            let data = spans[range.clone()].iter().map(|span| convert::span_data(span)).collect();
            // An earlier try may have been given up while its answer came.
            self.client.take_answer();
            let result = self.exporter.export(data).await;
            let verdict = judge(SignalKind::Traces, &self.endpoint, &self.client, &result);
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

fn ended(signal: &Signal) -> Option<&Span> {
    match signal {
        Signal::SpanEnded(span) => Some(span),
        _ => None,
    }
}
