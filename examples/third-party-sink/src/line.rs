//! Converts a signal to a line. The function is pure, so it can be tested without a file.

use serde_json::Value as Json;
use telemetry_core::Signal;

/// Returns the line of a signal with its line feed, or `None` for signals that are not written.
///
/// JSON escapes control characters, so the line contains no other line feed.
///
/// # Errors
///
/// If the signal can't be written as JSON.
///
/// ```
/// use telemetry_testkit::signals::{open_span, started};
///
/// // A span is written when it has ended.
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
        // Each event has its own line before the span's.
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
