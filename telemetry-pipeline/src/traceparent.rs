//! W3C Trace Context: the headers and attributes `traceparent` and `tracestate`.

use std::fmt;
use std::str::FromStr;

use telemetry_core::{SpanId, SpanKey, TraceId};

/// A parsed `traceparent`: `00-<trace id>-<parent id>-<flags>` (W3C Trace Context, section 3.2).
///
/// ```
/// use telemetry_pipeline::TraceParent;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent: TraceParent = header.parse()?;
/// assert!(parent.sampled);
/// assert_eq!(parent.to_string(), header);
/// # Ok::<(), telemetry_pipeline::TraceParentError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace and the span that called.
    pub parent: SpanKey,
    /// True if the caller may have recorded the trace.
    pub sampled: bool,
}

/// The error for text that is not a valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: expected `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`")]
pub struct TraceParentError;

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Parses the header. Versions above 00 may append fields, which are ignored. Version ff is invalid.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let lower_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = text.trim().split('-');
        let (Some(version), Some(trace), Some(span), Some(flags)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TraceParentError);
        };
        let has_more = parts.next().is_some();
        let well_formed =
            lower_hex(version, 2) && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2);
        if !well_formed || version == "ff" || (version == "00" && has_more) {
            return Err(TraceParentError);
        }
        let trace_id: TraceId = trace.parse().map_err(|_| TraceParentError)?;
        let span_id: SpanId = span.parse().map_err(|_| TraceParentError)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| TraceParentError)?;
        Ok(Self { parent: SpanKey::new(trace_id, span_id), sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpanKey { trace_id, span_id } = self.parent;
        write!(f, "00-{trace_id}-{span_id}-{:02x}", u8::from(self.sampled))
    }
}

/// Returns true if a `tracestate` is valid and may be passed on (W3C Trace Context, section 3.3): at most
/// 32 members `key=value` of the allowed characters, without a repeated key.
pub(crate) fn is_trace_state(text: &str) -> bool {
    const MAX_MEMBERS: usize = 32;
    let members =
        text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let mut keys = Vec::new();
    for member in members {
        let Some((key, value)) = member.split_once('=') else { return false };
        if keys.len() == MAX_MEMBERS || keys.contains(&key) || !is_key(key) || !is_value(value) {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= 256
        && key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.bytes().all(allowed)
}

fn is_value(value: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_headers_are_refused() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        for text in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(TraceParentError), "{text}");
        }
        assert!(
            format!("01-{trace}-{span}-00-more").parse::<TraceParent>().is_ok_and(|parent| !parent.sampled)
        );
    }

    #[test]
    fn only_a_valid_tracestate_is_passed_on() {
        let many =
            |members: usize| (0..members).map(|number| format!("v{number}=1")).collect::<Vec<_>>().join(",");
        for text in ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1 , b=2,", "0tenant@vendor=x y", &many(32)]
        {
            assert!(is_trace_state(text), "{text}");
        }
        let long = format!("a={}", "x".repeat(257));
        for text in ["", " , ", "a", "a=", "=1", "A=1", "a=1,a=2", "a=1\r\nx: y", "a=ä", &many(33), &long] {
            assert!(!is_trace_state(text), "{text}");
        }
    }
}
