//! W3C Trace Context: the `traceparent` header and attribute.

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
    /// Whether the caller may have recorded the trace.
    pub sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: expected `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`")]
pub struct TraceParentError;

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Versions beyond 00 may append fields, which are left unread; version ff is invalid.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_forms_are_refused() {
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
}
