//! Log records.

use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::LogRecord as Received;
use telemetry_core::{
    Attribute, EventContext, LogBody, LogRecord, Severity, SpanKey, Submission, Text, Timestamp, Ttl, Value,
};

use crate::attributes::{self, CopyBudget, Sender};
use crate::records::{Rejections, ResourceRecords, convert_each, span_id, time, trace_id};

/// Converts the log records of a request that arrived at `now`.
pub(crate) fn convert(
    resources: Vec<ResourceRecords<Received>>,
    now: Timestamp,
    budget: &CopyBudget,
    rejections: &mut Rejections,
) -> Vec<Submission> {
    convert_each(resources, budget, rejections, |record, sender| {
        log(record, sender, now).map(|log| Submission::Log(Box::new(log)))
    })
}

/// Converts one log record.
fn log(record: Received, sender: &Sender<'_>, now: Timestamp) -> Result<LogRecord, String> {
    let logged = time("time_unix_nano", record.time_unix_nano)?;
    let observed = time("observed_time_unix_nano", record.observed_time_unix_nano)?;
    let (severity, more) = severity(record.severity_number, record.severity_text, record.event_name);
    let (attributes, _) = sender.attributes(record.attributes, more)?;
    Ok(LogRecord {
        context: context(&record.trace_id, &record.span_id)?,
        timestamp: logged.or(observed).unwrap_or(now),
        body: LogBody::Message { severity, message: attributes::text(record.body).into() },
        attributes,
        service_name: Some(Arc::clone(sender.service_name())),
        arrived: now,
        ttl: Ttl::default(),
    })
}

/// Returns the trace and span that a log belongs to. An id that is empty or all zero names none.
fn context(trace: &[u8], span: &[u8]) -> Result<EventContext, String> {
    let is_absent = |bytes: &[u8], size: usize| {
        bytes.is_empty() || (bytes.len() == size && bytes.iter().all(|&byte| byte == 0))
    };
    Ok(match (is_absent(trace, 16), is_absent(span, 8)) {
        (true, true) => EventContext::None,
        (false, true) => EventContext::Trace(trace_id(trace)?),
        (false, false) => EventContext::Span(SpanKey::new(trace_id(trace)?, span_id("span_id", span)?)),
        (true, false) => return Err("a log has a span_id but no trace_id".into()),
    })
}

/// Returns the severity, and as attributes what the severity does not express: a number within its range,
/// the sender's own word, and the name of an event.
fn severity(number: i32, text: String, event_name: String) -> (Severity, Vec<Attribute>) {
    let severity = match number {
        1..=4 => Severity::Verbose,
        5..=8 => Severity::Debug,
        9..=12 => Severity::Info,
        13..=16 => Severity::Warn,
        17..=20 => Severity::Error,
        21..=24 => Severity::Critical,
        _ => severity_of_word(&text),
    };
    let mut attributes = Vec::new();
    if number != 0 && !matches!(number, 1 | 5 | 9 | 13 | 17 | 21) {
        attributes.push((Text::Borrowed("severity_number"), Value::from(number)));
    }
    if !text.is_empty() {
        attributes.push((Text::Borrowed("severity_text"), Value::from(text)));
    }
    if !event_name.is_empty() {
        attributes.push((Text::Borrowed("event.name"), Value::from(event_name)));
    }
    (severity, attributes)
}

/// Returns the severity of a record without a number, by the words that loggers use.
fn severity_of_word(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "trace" | "verbose" => Severity::Verbose,
        "debug" => Severity::Debug,
        "warn" | "warning" => Severity::Warn,
        "error" => Severity::Error,
        "fatal" | "critical" => Severity::Critical,
        _ => Severity::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_decides_and_its_details_become_attributes() {
        let of = |number, word: &str| {
            let (severity, attributes) = severity(number, word.into(), String::new());
            (severity, telemetry_core::Attributes::from(attributes).to_json())
        };
        assert_eq!(of(9, ""), (Severity::Info, "{}".into()));
        assert_eq!(
            of(18, "ERROR2"),
            (Severity::Error, r#"{"severity_number":18,"severity_text":"ERROR2"}"#.into())
        );
        assert_eq!(of(0, "WARNING"), (Severity::Warn, r#"{"severity_text":"WARNING"}"#.into()));
        assert_eq!(of(99, ""), (Severity::Info, r#"{"severity_number":99}"#.into()));
    }

    #[test]
    fn an_id_of_zeros_names_no_span() {
        assert_eq!(context(&[0; 16], &[0; 8]), Ok(EventContext::None));
        assert!(matches!(context(&[1; 16], &[]), Ok(EventContext::Trace(_))));
        assert!(matches!(context(&[1; 16], &[1; 8]), Ok(EventContext::Span(_))));
        for (trace, span) in [(&[][..], &[1; 8][..]), (&[1; 8], &[]), (&[1; 16], &[1; 16]), (&[0; 4], &[])] {
            assert!(context(trace, span).is_err(), "{trace:?} {span:?}");
        }
    }
}
