//! A signal as a line. A pure function: what a line looks like is tested without a file.

use serde_json::Value as Json;
use telemetry_core::Signal;

/// The line of a signal, with its line feed; `None` for signals that have none of their own.
///
/// JSON escapes control characters, so a line never contains another line.
///
/// # Errors
///
/// When the signal has no JSON form.
///
/// ```
/// use telemetry_testkit::signals::{open_span, started};
///
/// // A span has its line when it has ended.
/// assert_eq!(sink_ndjson::line::line(&started(open_span(1, 1, 0)))?, None);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn line(signal: &Signal) -> Result<Option<String>, serde_json::Error> {
    let (kind, mut json) = match signal {
        Signal::SpanEnded(span) => ("span", serde_json::to_value(span)?),
        Signal::Log(log) => ("log", serde_json::to_value(log)?),
        Signal::Metric(point) => ("metric", serde_json::to_value(point)?),
        _ => return Ok(None),
    };
    if let Signal::SpanEnded(_) = signal {
        // Each has had its own line, before the span's end.
        json["events"] = Json::Array(Vec::new());
    }
    let mut tagged = serde_json::Map::from_iter([("type".to_owned(), Json::from(kind))]);
    if let Json::Object(members) = json {
        tagged.extend(members);
    }
    let mut line = serde_json::to_string(&tagged)?;
    line.push('\n');
    Ok(Some(line))
}
