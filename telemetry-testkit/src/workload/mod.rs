//! What an LLM server logs, from a seed: the same seed gives the same events.

mod server;

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use telemetry_core::{
    Attributes, Chunk, Event, EventContext, LogBody, LogRecord, Metric, MetricPoint, MetricValue, Payload,
    Severity, Signal, Span, SpanEvent, SpanKey, SpanState, SpanStatus, StructuredLog, Text, Timestamp, Ttl,
    UnstructuredLog, attrs,
};

/// Events of an LLM server: requests with nested spans, their logs and token counts.
///
/// By default everything comes in order and whole; the flags add what real life adds.
///
/// ```
/// use telemetry_testkit::Workload;
///
/// let workload = Workload { traces: 3, out_of_order: true, ..Workload::new(42) };
/// assert_eq!(workload.events(), workload.events(), "a seed gives the same events each time");
/// assert_ne!(workload.events(), Workload { seed: 43, ..workload }.events());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name")]
pub struct Workload {
    /// Decides everything that is random.
    pub seed: u64,
    /// Requests, a trace each. They overlap in time.
    pub traces: usize,
    /// Spans per trace at most; at least one.
    pub spans_per_trace: usize,
    /// Logs per span.
    pub logs_per_span: usize,
    /// Whether the requests count their tokens, and gauges are logged beside them.
    pub metrics: bool,
    /// Whether keys and values of every odd kind are mixed in.
    pub odd_attributes: bool,
    /// Whether some logs come after their span has ended.
    pub late_logs: bool,
    /// Whether some starts and ends come twice, the second time with other content. Events only.
    pub duplicates: bool,
    /// Whether events change places with others nearby, ends with their starts too. Events only.
    pub out_of_order: bool,
    /// When the first request comes.
    pub start: Timestamp,
    /// The time to live of everything; the longest by default, so that nothing expires in a test.
    pub ttl: Ttl,
}

/// One thing that happens at the server.
#[derive(Clone, Debug)]
enum Moment {
    Start(Span),
    Log { context: EventContext, severity: Severity, message: Text, attributes: Attributes },
    Metric { context: EventContext, name: Text, value: MetricValue, unit: Text, attributes: Attributes },
    End { key: SpanKey, status: SpanStatus, attributes: Attributes },
}

impl Workload {
    /// Ten ordinary requests.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            traces: 10,
            spans_per_trace: 6,
            logs_per_span: 1,
            metrics: true,
            odd_attributes: false,
            late_logs: false,
            duplicates: false,
            out_of_order: false,
            // 2026-03-01T12:00:00Z.
            start: Timestamp::from_nanos(1_772_366_400_000_000_000),
            ttl: Ttl::from_seconds(u64::MAX).unwrap_or_default(),
        }
    }

    /// As [`Workload::new`], with everything odd, late, twice and out of order.
    pub fn wild(seed: u64) -> Self {
        Self {
            odd_attributes: true,
            late_logs: true,
            duplicates: true,
            out_of_order: true,
            ..Self::new(seed)
        }
    }

    /// The events in the order in which they are sent, as a pipeline or `POST /events` takes them.
    pub fn events(&self) -> Vec<(Event, Ttl)> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x5eed);
        let mut events = Vec::new();
        for (time, moment) in server::moments(self) {
            let event = moment.into_event(time);
            if self.duplicates && rng.random_bool(0.1) {
                events.extend(again(&event));
            }
            events.push(event);
        }
        if self.out_of_order {
            let mut places: Vec<(usize, Event)> = events
                .into_iter()
                .enumerate()
                .map(|(place, event)| (place + rng.random_range(0..12), event))
                .collect();
            places.sort_by_key(|(place, _)| *place);
            events = places.into_iter().map(|(_, event)| event).collect();
        }
        events.into_iter().map(|event| (event, self.ttl)).collect()
    }

    /// The signals that a pipeline makes of the events, for tests of sinks. Everything arrives at its
    /// own time.
    pub fn signals(&self) -> Vec<Signal> {
        let mut open: HashMap<SpanKey, Span> = HashMap::new();
        let moments = server::moments(self).into_iter();
        moments.filter_map(|(time, moment)| moment.into_signal(time, self.ttl, &mut open)).collect()
    }

    /// The signals in chunks of up to `size`, as workers get them.
    pub fn chunks(&self, size: usize) -> Vec<Arc<Chunk>> {
        let signals = self.signals();
        signals.chunks(size.max(1)).map(|signals| Arc::new(Chunk::new(signals.to_vec()))).collect()
    }
}

/// A start or an end that is sent a second time, with other content.
fn again(event: &Event) -> Option<Event> {
    let Event::StructuredLog(log) = event else { return None };
    let payload = match &log.payload {
        Payload::SpanStart { parent_span_id, kind, .. } => {
            Payload::SpanStart { name: Text::Borrowed("again"), parent_span_id: *parent_span_id, kind: *kind }
        }
        Payload::SpanEnd { .. } => Payload::SpanEnd { status: SpanStatus::Error },
        _ => return None,
    };
    let attributes = attrs! { "again" => true };
    Some(Event::StructuredLog(StructuredLog { payload, attributes, ..log.clone() }))
}

impl Moment {
    fn into_event(self, timestamp: Timestamp) -> Event {
        match self {
            Self::Start(span) => Event::StructuredLog(StructuredLog {
                trace_id: span.trace_id,
                span_id: span.span_id,
                timestamp,
                payload: Payload::SpanStart {
                    name: span.name,
                    parent_span_id: span.parent_span_id,
                    kind: span.kind,
                },
                attributes: span.attributes,
            }),
            Self::Log { context, severity, message, attributes } => {
                Event::UnstructuredLog(UnstructuredLog { context, timestamp, message, severity, attributes })
            }
            Self::Metric { context, name, value, unit, attributes } => Event::Metric(Metric {
                context,
                timestamp,
                metric: name,
                value,
                unit,
                kind: None,
                attributes,
            }),
            Self::End { key, status, attributes } => Event::StructuredLog(StructuredLog {
                trace_id: key.trace_id,
                span_id: key.span_id,
                timestamp,
                payload: Payload::SpanEnd { status },
                attributes,
            }),
        }
    }

    /// Pairs starts with ends, which here always come in this order.
    fn into_signal(self, time: Timestamp, ttl: Ttl, open: &mut HashMap<SpanKey, Span>) -> Option<Signal> {
        let signal = match self {
            Self::Start(span) => {
                let span = Span { arrived: time, ttl, ..span };
                open.insert(span.key(), span.clone());
                Signal::SpanStarted(Arc::new(span))
            }
            Self::Log { context, severity, message, attributes } => {
                let log = Arc::new(LogRecord {
                    context,
                    timestamp: time,
                    body: LogBody::Message { severity, message },
                    attributes,
                    service_name: None,
                    arrived: time,
                    ttl,
                });
                if let Some(span) = context.span_key().and_then(|key| open.get_mut(&key)) {
                    span.events.push(SpanEvent::Log(Arc::clone(&log)));
                }
                Signal::Log(log)
            }
            Self::Metric { context, name, value, unit, attributes } => {
                let point = Arc::new(MetricPoint {
                    context,
                    timestamp: time,
                    name,
                    value,
                    unit,
                    kind: None,
                    attributes,
                    service_name: None,
                    arrived: time,
                    ttl,
                    stream: None,
                });
                if let Some(span) = context.span_key().and_then(|key| open.get_mut(&key)) {
                    span.events.push(SpanEvent::Metric(Arc::clone(&point)));
                }
                Signal::Metric(point)
            }
            Self::End { key, status, attributes } => {
                let mut span = open.remove(&key)?;
                span.attributes.merge(attributes);
                span.end_time = Some(time);
                span.status = Some(status);
                span.state = SpanState::Ended;
                span.arrived = time;
                Signal::SpanEnded(Arc::new(span))
            }
        };
        Some(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_that_starts_ends_later() {
        let signals = Workload { late_logs: true, odd_attributes: true, ..Workload::new(3) }.signals();
        let mut open = Vec::new();
        let mut ended = 0;
        for signal in &signals {
            match signal {
                Signal::SpanStarted(span) => open.push(span.key()),
                Signal::SpanEnded(span) => {
                    assert!(span.end_time >= Some(span.start_time));
                    let place = open.iter().position(|key| *key == span.key()).expect("it started");
                    open.remove(place);
                    ended += 1;
                }
                _ => {}
            }
        }
        assert!(open.is_empty() && ended >= 10, "{ended} ended, {} open", open.len());
    }

    #[test]
    fn events_and_signals_tell_the_same_story() {
        let workload = Workload::new(5);
        assert_eq!(workload.events().len(), workload.signals().len());
    }

    #[test]
    fn disorder_keeps_every_event() {
        let count = |workload: Workload| workload.events().len();
        assert_eq!(
            count(Workload { out_of_order: true, ..Workload::new(8) }),
            count(Workload::new(8)),
            "a change of places loses nothing"
        );
        assert!(count(Workload { duplicates: true, ..Workload::new(8) }) > count(Workload::new(8)));
        let in_order = |events: &[(Event, Ttl)]| events.is_sorted_by_key(|(event, _)| event.timestamp());
        assert!(in_order(&Workload::new(8).events()));
        assert!(!in_order(&Workload::wild(8).events()));
    }
}
