//! The sink contract. The tests read back what the sink wrote in its JSON format.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value as Json;
use sink_console::{Config, ConsoleSink, Format};
use telemetry_core::{
    Attributes, BuiltSink, EventContext, LogBody, LogRecord, MetricPoint, MetricValue, OptionValue, Options,
    SinkEntry, SinkError, Span, SpanKey, SpanState, Text, Timestamp, Ttl,
};
use telemetry_testkit::{Delivered, Harness};

telemetry_testkit::sink_contract!(Console, lacks { c15_secrets: "takes no secret" });

/// A console that writes to a pipe of the test.
struct Console(Pipe);

/// A pipe with a limit that the test sets.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    printed: Vec<u8>,
    /// The number of bytes it still accepts; `None` is no limit.
    room: Option<usize>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let taken = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        state.room = state.room.map(|room| room - taken);
        state.printed.extend_from_slice(&bytes[..taken]);
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Harness for Console {
    fn new() -> Self {
        Self(Pipe::default())
    }

    fn entry(&self) -> &'static SinkEntry {
        &sink_console::ENTRY
    }

    fn options(&self) -> Options {
        Options::from_pairs([("format", OptionValue::Text("json".to_owned()))])
    }

    /// Builds the sink like the entry does, but with our own pipe.
    async fn build(&self) -> Result<BuiltSink, SinkError> {
        let config = Config { format: Format::Json, ..Config::default() };
        Ok(ConsoleSink::new(self.0.clone(), config, false).built())
    }

    async fn delivered(&self) -> Delivered {
        let printed = String::from_utf8(self.0.0.lock().unwrap().printed.clone()).unwrap();
        let mut delivered = Delivered::default();
        // A line without its newline is not complete yet.
        let lines = printed.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for line in lines.map(|line| Line(serde_json::from_str(line).unwrap())) {
            match line.text("type").as_str() {
                "span_end" => delivered.spans.push(line.span()),
                "log" | "span_event" => delivered.logs.push(line.log()),
                "metric" => delivered.metrics.push(line.metric()),
                "span_start" => {}
                other => panic!("unknown type of line: {other}"),
            }
        }
        delivered
    }

    /// Removes what the console does not write: arrival times, and keys that begin with `__`.
    fn normalize(&self, delivered: &mut Delivered) {
        delivered.forget_arrival();
        let shown = |attributes: &mut Attributes| {
            *attributes = attributes.iter().filter(|(key, _)| !key.starts_with("__")).cloned().collect();
        };
        delivered.spans.iter_mut().for_each(|span| shown(&mut span.attributes));
        delivered.logs.iter_mut().for_each(|log| shown(&mut log.attributes));
        delivered.metrics.iter_mut().for_each(|point| shown(&mut point.attributes));
    }

    /// Leaves room for one line and the beginning of another.
    async fn break_destination(&self) -> bool {
        self.0.0.lock().unwrap().room = Some(400);
        true
    }

    async fn restore_destination(&self) {
        self.0.0.lock().unwrap().room = None;
    }
}

/// One printed object.
struct Line(Json);

impl Line {
    fn maybe(&self, member: &str) -> Option<String> {
        self.0.get(member).and_then(Json::as_str).map(str::to_owned)
    }

    fn text(&self, member: &str) -> String {
        self.maybe(member).unwrap_or_else(|| panic!("no text `{member}` in {}", self.0))
    }

    fn time(&self, member: &str) -> Timestamp {
        self.text(member).parse().unwrap()
    }

    fn attributes(&self) -> Attributes {
        serde_json::from_value(self.0["attributes"].clone()).unwrap()
    }

    fn service(&self) -> Option<Arc<str>> {
        self.maybe("service_name").map(Into::into)
    }

    fn context(&self) -> EventContext {
        let trace_id = self.maybe("trace_id").map(|id| id.parse().unwrap());
        let span_id = self.maybe("span_id").map(|id| id.parse().unwrap());
        match (trace_id, span_id) {
            (None, _) => EventContext::None,
            (Some(trace_id), None) => EventContext::Trace(trace_id),
            (Some(trace_id), Some(span_id)) => EventContext::Span(SpanKey::new(trace_id, span_id)),
        }
    }

    fn span(&self) -> Span {
        let key = self.context().span_key().unwrap();
        Span {
            parent_span_id: self.maybe("parent_span_id").map(|id| id.parse().unwrap()),
            kind: self.text("kind").parse().unwrap(),
            service_name: self.service(),
            end_time: Some(self.time("timestamp")),
            status: self.maybe("status").map(|status| status.parse().unwrap()),
            attributes: self.attributes(),
            trace_state: self.maybe("trace_state").map(Text::Owned),
            state: if self.0.get("unfinished").is_some() { SpanState::Unfinished } else { SpanState::Ended },
            ..Span::open(key, self.text("name"), self.time("start_time"))
        }
    }

    fn log(&self) -> LogRecord {
        let body = match self.maybe("severity") {
            Some(severity) => {
                LogBody::Message { severity: severity.parse().unwrap(), message: self.text("message").into() }
            }
            None => LogBody::SpanEvent { name: self.text("name").into() },
        };
        LogRecord {
            context: self.context(),
            timestamp: self.time("timestamp"),
            body,
            attributes: self.attributes(),
            service_name: self.service(),
            arrived: Timestamp::default(),
            ttl: Ttl::default(),
        }
    }

    fn metric(&self) -> MetricPoint {
        let value: MetricValue = serde_json::from_value(self.0["value"].clone()).unwrap();
        MetricPoint {
            context: self.context(),
            timestamp: self.time("timestamp"),
            name: self.text("metric").into(),
            value,
            unit: self.text("unit").into(),
            kind: self.maybe("kind").map(|kind| kind.parse().unwrap()),
            attributes: self.attributes(),
            service_name: self.service(),
            arrived: Timestamp::default(),
            ttl: Ttl::default(),
            stream: None,
        }
    }
}
