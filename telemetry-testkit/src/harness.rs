//! What a sink's author says about the sink, so that the kits can test it.

use async_trait::async_trait;
use telemetry_core::{
    BuiltSink, LogRecord, MetricPoint, Options, RunId, Signal, SinkContext, SinkEntry, SinkError, Span, Text,
    Timestamp, Ttl,
};

/// A sink under test and its destination.
///
/// The first four methods are all that most sinks need. A test that needs one of the others says so
/// when it is missing; declare the clause as lacking in [`sink_contract!`](crate::sink_contract) if
/// the sink has nothing to test there.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// A destination of its own: a new folder, a server on a free port.
    fn new() -> Self;

    /// The sink's entry.
    fn entry(&self) -> &'static SinkEntry;

    /// Options that lead to the destination, with a value for every secret.
    fn options(&self) -> Options;

    /// What has reached the destination, read past the sink and in the order of its arrival.
    async fn delivered(&self) -> Delivered;

    /// Builds the sink.
    ///
    /// # Errors
    ///
    /// What the entry's build function answers.
    async fn build(&self) -> Result<BuiltSink, SinkError> {
        let options = self.options();
        let context = SinkContext { service_name: Text::Borrowed(SERVICE_NAME), options, run: RunId(1) };
        (self.entry().build)(&context).await
    }

    /// Takes out what the medium is documented not to carry. Applied to what was expected and to what
    /// was delivered before the two are compared.
    fn blur(&self, _delivered: &mut Delivered) {}

    /// Puts the destination out of order, in a way that may pass; `false` if there is no such way.
    async fn break_destination(&self) -> bool {
        false
    }

    /// Puts the destination in order again.
    async fn mend_destination(&self) {}

    /// The secrets among the options: texts that must never be shown.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The service of the process that the kits play.
pub const SERVICE_NAME: &str = "testkit";

/// What a destination holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// Spans that have ended.
    pub spans: Vec<Span>,
    /// Logs and span events.
    pub logs: Vec<LogRecord>,
    /// Measurements.
    pub metrics: Vec<MetricPoint>,
}

impl Delivered {
    /// What a destination should hold after these signals.
    pub fn of<'a>(signals: impl IntoIterator<Item = &'a Signal>) -> Self {
        let mut delivered = Self::default();
        for signal in signals {
            match signal {
                Signal::SpanEnded(span) => delivered.spans.push(Span::clone(span)),
                Signal::Log(log) => delivered.logs.push(LogRecord::clone(log)),
                Signal::Metric(point) => delivered.metrics.push(MetricPoint::clone(point)),
                _ => {}
            }
        }
        delivered
    }

    /// Forgets when things arrived and how long they live, for destinations that are no stores.
    pub fn forget_arrival(&mut self) {
        let (arrived, ttl) = (Timestamp::default(), Ttl::default());
        for span in &mut self.spans {
            (span.arrived, span.ttl) = (arrived, ttl);
        }
        for log in &mut self.logs {
            (log.arrived, log.ttl) = (arrived, ttl);
        }
        for point in &mut self.metrics {
            (point.arrived, point.ttl) = (arrived, ttl);
        }
    }

    /// Everything as text, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let spans = self.spans.iter().map(|span| format!("span {span:?}"));
        let logs = self.logs.iter().map(|log| format!("log {log:?}"));
        let metrics = self.metrics.iter().map(|point| format!("metric {point:?}"));
        spans.chain(logs).chain(metrics).collect()
    }
}
