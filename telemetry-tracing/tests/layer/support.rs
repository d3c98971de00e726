//! A pipeline that captures what it delivers, behind a `tracing` subscriber.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::{LogBody, LogRecord, MetricPoint, Signal, Span, SpanEvent};
use telemetry_pipeline::{Pipeline, PipelineConfig, SinkSpec, Telemetry};
use telemetry_testkit::{CaptureSink, READY_MADE, Seen, ready_made};
use tracing_subscriber::layer::SubscriberExt as _;

pub(crate) struct CapturingPipeline {
    pipeline: Pipeline,
    seen: Seen,
}

impl CapturingPipeline {
    pub(crate) fn start() -> Self {
        let (sink, seen) = CaptureSink::new();
        let spec = SinkSpec { entry: &READY_MADE, context: ready_made(sink.built()) };
        // Room for everything, in case the assembler thread does not run for a while.
        let config = PipelineConfig { queue_slots: 1 << 16, ..PipelineConfig::default() };
        let pipeline = Pipeline::start(vec![spec], config).unwrap();
        Self { pipeline, seen }
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.pipeline.telemetry()
    }

    /// Shuts the pipeline down and returns everything it delivered.
    pub(crate) fn finish(self) -> Delivered {
        let report = self.pipeline.shutdown(Duration::from_secs(30));
        assert!(report.abandoned.is_empty(), "{report:?}");
        Delivered(self.seen.signals())
    }
}

/// Runs `code` under a subscriber with the layer alone, and returns what was delivered.
pub(crate) fn traced(code: impl FnOnce()) -> Delivered {
    let pipeline = CapturingPipeline::start();
    let subscriber = tracing_subscriber::registry().with(telemetry_tracing::layer(pipeline.telemetry()));
    tracing::subscriber::with_default(subscriber, code);
    pipeline.finish()
}

pub(crate) struct Delivered(pub(crate) Vec<Signal>);

impl Delivered {
    pub(crate) fn logs(&self) -> Vec<Arc<LogRecord>> {
        let log = |signal: &Signal| match signal {
            Signal::Log(log) => Some(Arc::clone(log)),
            _ => None,
        };
        self.0.iter().filter_map(log).collect()
    }

    pub(crate) fn metrics(&self) -> Vec<Arc<MetricPoint>> {
        let metric = |signal: &Signal| match signal {
            Signal::Metric(point) => Some(Arc::clone(point)),
            _ => None,
        };
        self.0.iter().filter_map(metric).collect()
    }

    pub(crate) fn span(&self, name: &str) -> Arc<Span> {
        let ended = |signal: &Signal| match signal {
            Signal::SpanEnded(span) if span.name == name => Some(Arc::clone(span)),
            _ => None,
        };
        self.0.iter().find_map(ended).expect("the span has ended")
    }

    /// Formats the ended spans as a tree. Each line has the attributes and the status if it failed, and then the logs.
    pub(crate) fn tree(&self) -> String {
        let ended = |signal: &Signal| match signal {
            Signal::SpanEnded(span) => Some(Arc::clone(span)),
            _ => None,
        };
        let mut spans: Vec<Arc<Span>> = self.0.iter().filter_map(ended).collect();
        spans.sort_by_key(|span| span.start_time);
        let mut text = String::new();
        let known = |span: &Span| spans.iter().any(|other| Some(other.span_id) == span.parent_span_id);
        for root in spans.iter().filter(|span| !known(span)) {
            render(root, &spans, 0, &mut text);
        }
        text
    }
}

fn render(span: &Span, spans: &[Arc<Span>], depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let failed = if span.status == Some(telemetry_core::SpanStatus::Error) { " failed" } else { "" };
    writeln!(text, "{indent}{} {}{failed}", span.name, span.attributes.to_json()).unwrap();
    for event in &span.events {
        if let SpanEvent::Log(log) = event {
            writeln!(text, "{indent}  - {}", message(log)).unwrap();
        }
    }
    for child in spans.iter().filter(|other| other.parent_span_id == Some(span.span_id)) {
        assert_eq!(child.trace_id, span.trace_id);
        render(child, spans, depth + 1, text);
    }
}

/// Formats the severity and the text of a log.
pub(crate) fn message(log: &LogRecord) -> String {
    match &log.body {
        LogBody::Message { severity, message } => format!("{severity}: {message}"),
        LogBody::SpanEvent { name } => name.to_string(),
    }
}
