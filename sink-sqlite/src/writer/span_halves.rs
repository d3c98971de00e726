//! Merges what is stored of an incomplete span with what arrives of it.

use telemetry_core::{Attributes, Span, SpanKind, SpanState, SpanStatus, Timestamp, Ttl, WaitingEnd};

/// The result of a merge.
#[derive(Debug, PartialEq)]
pub(super) enum Merged {
    /// The start and the end are known.
    Complete(Span),
    /// The start or the end is still missing. This is the latest version.
    Incomplete(Span),
}

/// Returns true if only the end of the span is known.
fn lacks_start(span: &Span) -> bool {
    span.state == SpanState::Unfinished && span.end_time.is_some()
}

/// Merges a stored span with a later signal of it: a start, or all that is known of a span when the
/// assembler stops waiting for the rest.
pub(super) fn merge_span(stored: Span, later: &Span) -> Merged {
    match (lacks_start(&stored), lacks_start(later)) {
        (true, false) => Merged::Complete(with_end_of(later.clone(), &stored)),
        (false, true) => Merged::Complete(with_end_of(stored, later)),
        (true, true) | (false, false) => Merged::Incomplete(later.clone()),
    }
}

/// Merges a stored start with an end that came without its start. If an end is stored already, the first end stays.
pub(super) fn merge_end(stored: Span, end: &WaitingEnd) -> Merged {
    if lacks_start(&stored) {
        return Merged::Incomplete(stored);
    }
    Merged::Complete(with_end(
        stored,
        EndHalf {
            end_time: Some(end.end_time),
            status: Some(end.status),
            attributes: end.attributes.clone(),
            arrived: end.arrived,
            ttl: end.ttl,
        },
    ))
}

struct EndHalf {
    end_time: Option<Timestamp>,
    status: Option<SpanStatus>,
    attributes: Attributes,
    arrived: Timestamp,
    ttl: Ttl,
}

fn with_end_of(start: Span, end: &Span) -> Span {
    let mut span = with_end(
        start,
        EndHalf {
            end_time: end.end_time,
            status: end.status,
            attributes: end.attributes.clone(),
            arrived: end.arrived,
            ttl: end.ttl,
        },
    );
    if span.kind == SpanKind::Internal {
        span.kind = end.kind;
    }
    span
}

/// Adds the end to a span. The end's attributes replace the start's, and the later expiry counts.
fn with_end(mut span: Span, end: EndHalf) -> Span {
    let expires = span.expires();
    span.end_time = end.end_time;
    span.status = end.status;
    span.attributes.merge(end.attributes);
    span.state = SpanState::Ended;
    if end.arrived.saturating_add(end.ttl.as_duration()) >= expires {
        span.arrived = end.arrived;
        span.ttl = end.ttl;
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::{SpanId, SpanKey, TraceId, attrs};

    fn key() -> SpanKey {
        SpanKey::new(TraceId::from_u128(1).unwrap(), SpanId::from_u64(2).unwrap())
    }

    fn started() -> Span {
        Span {
            attributes: attrs! { "a" => 1, "b" => 1 },
            ..Span::open(key(), "chat", Timestamp::from_nanos(10))
        }
    }

    fn ended_alone() -> Span {
        Span {
            end_time: Some(Timestamp::from_nanos(30)),
            status: Some(SpanStatus::Error),
            state: SpanState::Unfinished,
            attributes: attrs! { "b" => 2 },
            ..Span::open(key(), "", Timestamp::from_nanos(30))
        }
    }

    fn complete_span() -> Span {
        Span {
            end_time: Some(Timestamp::from_nanos(30)),
            status: Some(SpanStatus::Error),
            state: SpanState::Ended,
            attributes: attrs! { "a" => 1, "b" => 2 },
            arrived: Timestamp::from_nanos(30),
            ..started()
        }
    }

    #[test]
    fn a_start_and_an_end_are_complete_in_either_order() {
        assert_eq!(merge_span(started(), &ended_alone()), Merged::Complete(complete_span()));
        assert_eq!(merge_span(ended_alone(), &started()), Merged::Complete(complete_span()));
        let end = WaitingEnd {
            key: key(),
            end_time: Timestamp::from_nanos(30),
            status: SpanStatus::Error,
            attributes: attrs! { "b" => 2 },
            arrived: Timestamp::from_nanos(30),
            ttl: Ttl::default(),
        };
        assert_eq!(merge_end(started(), &end), Merged::Complete(complete_span()));
        assert_eq!(merge_end(ended_alone(), &end), Merged::Incomplete(ended_alone()));
    }

    #[test]
    fn a_second_start_replaces_the_first() {
        let again = Span { attributes: attrs! { "a" => 9 }, ..started() };
        assert_eq!(merge_span(started(), &again), Merged::Incomplete(again.clone()));
    }
}
