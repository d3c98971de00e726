//! Two halves of one span become one.

use telemetry_core::{Attributes, Span, SpanKind, SpanState, WaitingEnd};

/// What becomes of a span whose other half was stored before.
#[derive(Debug, PartialEq)]
pub(super) enum Joined {
    /// It is whole.
    Whole(Span),
    /// It is still half; this is the latest word.
    Half(Span),
}

/// Whether only the end of the span is known.
fn lacks_start(span: &Span) -> bool {
    span.state == SpanState::Unfinished && span.end_time.is_some()
}

/// Joins what is stored of a span with news of it: a start (again), or all that is known of a span
/// that was given up.
pub(super) fn join(stored: Span, news: &Span) -> Joined {
    match (lacks_start(&stored), lacks_start(news)) {
        (true, false) => Joined::Whole(whole(news.clone(), &stored)),
        (false, true) => Joined::Whole(whole(stored, news)),
        (true, true) | (false, false) => Joined::Half(news.clone()),
    }
}

/// Joins the start that is stored with an end that comes alone.
pub(super) fn join_end(stored: Span, end: &WaitingEnd) -> Joined {
    if lacks_start(&stored) {
        // A second end of the same span: the first stays.
        return Joined::Half(stored);
    }
    Joined::Whole(end_with(
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
    end_time: Option<telemetry_core::Timestamp>,
    status: Option<telemetry_core::SpanStatus>,
    attributes: Attributes,
    arrived: telemetry_core::Timestamp,
    ttl: telemetry_core::Ttl,
}

fn whole(start: Span, end: &Span) -> Span {
    let mut whole = end_with(
        start,
        EndHalf {
            end_time: end.end_time,
            status: end.status,
            attributes: end.attributes.clone(),
            arrived: end.arrived,
            ttl: end.ttl,
        },
    );
    if whole.kind == SpanKind::Internal {
        whole.kind = end.kind;
    }
    whole
}

/// The end's attributes win; the span lives as long as its longer-lived half.
fn end_with(mut span: Span, end: EndHalf) -> Span {
    let stored_until = span.expires();
    span.end_time = end.end_time;
    span.status = end.status;
    span.attributes.merge(end.attributes);
    span.state = SpanState::Ended;
    if end.arrived.saturating_add(end.ttl.as_duration()) >= stored_until {
        span.arrived = end.arrived;
        span.ttl = end.ttl;
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::{SpanId, SpanKey, SpanStatus, Timestamp, TraceId, Ttl, attrs};

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

    fn whole_span() -> Span {
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
    fn a_start_and_an_end_are_whole_in_either_order() {
        assert_eq!(join(started(), &ended_alone()), Joined::Whole(whole_span()));
        assert_eq!(join(ended_alone(), &started()), Joined::Whole(whole_span()));
        let end = WaitingEnd {
            key: key(),
            end_time: Timestamp::from_nanos(30),
            status: SpanStatus::Error,
            attributes: attrs! { "b" => 2 },
            arrived: Timestamp::from_nanos(30),
            ttl: Ttl::default(),
        };
        assert_eq!(join_end(started(), &end), Joined::Whole(whole_span()));
        assert_eq!(join_end(ended_alone(), &end), Joined::Half(ended_alone()));
    }

    #[test]
    fn a_second_start_replaces_the_first() {
        let again = Span { attributes: attrs! { "a" => 9 }, ..started() };
        assert_eq!(join(started(), &again), Joined::Half(again.clone()));
    }
}
