//! Formats signals as text for people.

use telemetry_core::{
    Attribute, Attributes, LogBody, LogRecord, MetricPoint, MetricValue, Severity, Signal, Span, SpanState,
    SpanStatus, Timestamp, Value,
};

use crate::escape::{cut, push_escaped, shown};

/// The escape sequence of a colour.
#[derive(Clone, Copy)]
struct Color(&'static str);

const DIM: Color = Color("\x1b[2m");
const RED: Color = Color("\x1b[31m");
const GREEN: Color = Color("\x1b[32m");
const YELLOW: Color = Color("\x1b[33m");
const BLUE: Color = Color("\x1b[34m");
const MAGENTA: Color = Color("\x1b[35m");
const CYAN: Color = Color("\x1b[36m");
const BRIGHT_RED: Color = Color("\x1b[1;31m");
const RESET: &str = "\x1b[0m";

/// Returns the line of a signal and one line for each of its attributes. Empty for a signal that is not
/// shown.
///
/// ```
/// use telemetry_core::attrs;
/// use telemetry_testkit::signals::{ended, span};
///
/// let mut span = span(1, 1, 0, 1_234);
/// span.attributes = attrs! { "model_id" => "llama", "__type__" => "hidden" };
/// assert_eq!(
///     sink_console::format::to_text(&ended(span), false),
///     "12:00:01.234 [END] span (1234.00ms)\n    model_id: llama\n"
/// );
/// ```
pub fn to_text(signal: &Signal, colored: bool) -> String {
    let mut text = Text { out: String::new(), colored };
    match signal {
        Signal::SpanStarted(span) => text.started(span),
        Signal::SpanEnded(span) => text.ended(span),
        Signal::Log(log) => text.log(log),
        Signal::Metric(point) => text.metric(point),
        // `EndWaiting` is shown when its span is delivered. `Signal` is open to further kinds.
        _ => {}
    }
    text.out
}

struct Text {
    out: String,
    colored: bool,
}

impl Text {
    fn started(&mut self, span: &Span) {
        self.head(span.start_time, "START", CYAN);
        self.name(span);
        self.attribute_lines(&span.attributes);
    }

    fn ended(&mut self, span: &Span) {
        self.head(span.end_time.unwrap_or(span.arrived), "END", CYAN);
        self.name(span);
        if span.status == Some(SpanStatus::Error) {
            self.out.push(' ');
            self.tag("ERROR", RED);
        }
        if span.state == SpanState::Unfinished {
            self.out.push(' ');
            self.tag("UNFINISHED", YELLOW);
        } else if let Some(duration) = span.duration_ms() {
            self.out.push(' ');
            self.colored(DIM, &format!("({duration:.2}ms)"));
        }
        self.attribute_lines(&span.attributes);
    }

    /// Writes the span's name, or its id if the start never arrived.
    fn name(&mut self, span: &Span) {
        if span.name.is_empty() {
            self.out.push_str("span ");
            self.out.push_str(&span.span_id.to_string());
        } else {
            push_escaped(&mut self.out, &span.name);
        }
    }

    fn log(&mut self, log: &LogRecord) {
        match &log.body {
            LogBody::Message { severity, message } => {
                let (tag, color) = severity_tag(*severity);
                self.head(log.timestamp, tag, color);
                push_escaped(&mut self.out, message);
            }
            LogBody::SpanEvent { name } => {
                self.head(log.timestamp, "EVENT", BLUE);
                push_escaped(&mut self.out, name);
            }
        }
        self.attribute_lines(&log.attributes);
    }

    fn metric(&mut self, point: &MetricPoint) {
        self.head(point.timestamp, "METRIC", GREEN);
        push_escaped(&mut self.out, &point.name);
        self.out.push('=');
        self.value(&match point.value {
            MetricValue::Int(number) => Value::Int(number),
            MetricValue::Float(number) => Value::Float(number),
        });
        if !point.unit.is_empty() {
            self.out.push(' ');
            push_escaped(&mut self.out, &point.unit);
        }
        let mut separator = " {";
        for (label, value) in shown(&point.attributes) {
            self.out.push_str(separator);
            separator = ", ";
            push_escaped(&mut self.out, &cut(label));
            self.out.push('=');
            self.value(value);
        }
        if separator == ", " {
            self.out.push('}');
        }
        self.out.push('\n');
    }

    /// Writes `12:00:00.000 [TAG] `.
    fn head(&mut self, time: Timestamp, tag: &str, color: Color) {
        self.colored(DIM, &time.to_clock_text());
        self.out.push(' ');
        self.tag(tag, color);
        self.out.push(' ');
    }

    fn tag(&mut self, tag: &str, color: Color) {
        self.colored(color, &format!("[{tag}]"));
    }

    /// Ends the line and writes each attribute on its own line.
    fn attribute_lines(&mut self, attributes: &Attributes) {
        self.out.push('\n');
        for attribute in shown(attributes) {
            self.attribute(attribute);
        }
    }

    fn attribute(&mut self, (key, value): &Attribute) {
        self.out.push_str("    ");
        if self.colored {
            self.out.push_str(DIM.0);
        }
        push_escaped(&mut self.out, &cut(key));
        self.out.push_str(": ");
        self.value(value);
        if self.colored {
            self.out.push_str(RESET);
        }
        self.out.push('\n');
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::String(text) => push_escaped(&mut self.out, &cut(text)),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => self.out.push_str(&value.to_string()),
        }
    }

    fn colored(&mut self, color: Color, text: &str) {
        if self.colored {
            self.out.push_str(color.0);
            self.out.push_str(text);
            self.out.push_str(RESET);
        } else {
            self.out.push_str(text);
        }
    }
}

const fn severity_tag(severity: Severity) -> (&'static str, Color) {
    match severity {
        Severity::Verbose => ("VERBOSE", DIM),
        Severity::Debug => ("DEBUG", MAGENTA),
        Severity::Info => ("INFO", BLUE),
        Severity::Warn => ("WARN", YELLOW),
        Severity::Error => ("ERROR", RED),
        Severity::Critical => ("CRITICAL", BRIGHT_RED),
    }
}
