//! What the tests must know about a sink.

use async_trait::async_trait;
use telemetry_core::{
    BuiltSink, LogRecord, MetricPoint, Options, RunId, Signal, SinkContext, SinkEntry, SinkError, Span, Text,
    Timestamp, Ttl,
};

/// Describes a sink and its destination to the tests.
///
/// Most sinks need only the first four methods. A test that needs another one fails with its name. Either
/// implement that method, or declare the clause as lacking in [`sink_contract!`](crate::sink_contract) if the
/// sink has nothing to test there.
#[async_trait]
pub trait Harness: Send + Sync + Sized + 'static {
    /// Creates a destination that no other test uses, such as a new folder or a server on a free port.
    fn new() -> Self;

    /// Returns the sink's entry.
    fn entry(&self) -> &'static SinkEntry;

    /// Returns options that point the sink to the destination, with a value for every secret.
    fn options(&self) -> Options;

    /// Reads what has reached the destination, in the order of its arrival and without help from the sink.
    async fn delivered(&self) -> Delivered;

    /// Builds the sink.
    ///
    /// # Errors
    ///
    /// The error of the entry's build function.
    async fn build(&self) -> Result<BuiltSink, SinkError> {
        let options = self.options();
        let context = SinkContext { service_name: Text::Borrowed(SERVICE_NAME), options, run: RunId(1) };
        (self.entry().build)(&context).await
    }

    /// Removes what the destination can't carry, as the sink's documentation says. The tests apply this both to what
    /// they expect and to what was delivered, then compare the two.
    fn normalize(&self, _delivered: &mut Delivered) {}

    /// Breaks the destination so that [`Harness::restore_destination`] can repair it. Returns false if the test can't
    /// break it.
    async fn break_destination(&self) -> bool {
        false
    }

    /// Repairs the destination after [`Harness::break_destination`].
    async fn restore_destination(&self) {}

    /// Returns the secrets among the options: texts that no message may contain.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The service name that the tests use for their own process.
pub const SERVICE_NAME: &str = "testkit";

/// The signals that a destination has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// Spans that have ended.
    pub spans: Vec<Span>,
    /// Logs and span events.
    pub logs: Vec<LogRecord>,
    /// Metric points.
    pub metrics: Vec<MetricPoint>,
}

impl Delivered {
    /// Returns what a destination should have after these signals.
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

    /// Resets the arrival times and the times to live. Only stores keep them.
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

    /// Formats everything as text, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let spans = self.spans.iter().map(|span| format!("span {span:?}"));
        let logs = self.logs.iter().map(|log| format!("log {log:?}"));
        let metrics = self.metrics.iter().map(|point| format!("metric {point:?}"));
        spans.chain(logs).chain(metrics).collect()
    }
}
