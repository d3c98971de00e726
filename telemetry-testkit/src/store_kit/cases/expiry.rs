//! Expiry: a trace expires as a whole, counted from its arrival.

use std::sync::Arc;
use std::time::Duration;

use telemetry_core::query::{LogQuery, TraceQuery};
use telemetry_core::{EventContext, LogRecord, MetricPoint, Signal, Span, Timestamp, Ttl, attrs};

use crate::signals::{child, ended, key, log_record, metric_point, open_span, span, started};
use crate::store_kit::test_store::{TestStore, all_of};

/// Whether something has expired. The difference to now is an hour, so that small differences of clocks don't matter.
#[derive(Clone, Copy)]
enum Age {
    /// Expired an hour ago.
    Expired,
    /// Expires in an hour.
    Alive,
}

impl Age {
    fn arrived_and_ttl(self) -> (Timestamp, Ttl) {
        let two_hours = Duration::from_secs(7_200);
        let now = Timestamp::now().as_nanos();
        let arrived = Timestamp::from_nanos(now - i64::try_from(two_hours.as_nanos()).unwrap_or(0));
        let seconds = match self {
            Self::Expired => 3_600,
            Self::Alive => 10_800,
        };
        (arrived, Ttl::from_seconds(seconds).unwrap_or_default())
    }

    fn span(self, span: Span) -> Signal {
        let (arrived, ttl) = self.arrived_and_ttl();
        ended(Span { arrived, ttl, ..span })
    }

    fn log(self, context: EventContext, message: &'static str) -> Signal {
        let (arrived, ttl) = self.arrived_and_ttl();
        Signal::Log(Arc::new(LogRecord { arrived, ttl, ..log_record(context, 0, message) }))
    }

    fn metric(self, context: EventContext, name: &'static str) -> Signal {
        let (arrived, ttl) = self.arrived_and_ttl();
        Signal::Metric(Arc::new(MetricPoint { arrived, ttl, context, ..metric_point(name, 1, 0, attrs! {}) }))
    }
}

/// No query returns anything of an expired trace.
pub async fn an_expired_trace_is_gone_as_a_whole(store: &mut TestStore) {
    let of_span = EventContext::Span(key(1, 1));
    store
        .write([
            Age::Expired.span(span(1, 1, 0, 9)),
            Age::Expired.span(child(1, 2, 1, 1, 2)),
            Age::Expired.log(of_span, "gone"),
            Age::Expired.metric(of_span, "m"),
            Age::Alive.span(span(2, 1, 0, 9)),
        ])
        .await;
    assert_eq!(store.traces(TraceQuery::default()).await, [2]);
    assert_eq!(store.trace(1).await, None);
    assert_eq!(store.span(1, 1).await, None);
    assert_eq!(store.tree(Some(1), 1, None).await, None);
    assert_eq!(store.tree(None, 2, None).await, None);
    assert_eq!(store.spans(telemetry_core::query::SpanQuery::default()).await, ["2/1{}"]);
    assert_eq!(store.logs(LogQuery::default()).await, Vec::<String>::new());
    assert_eq!(store.metrics(all_of("m")).await, Vec::<String>::new());
}

/// One span or log that lives longer keeps its whole trace.
pub async fn a_trace_stays_whole_until_its_last_span_expires(store: &mut TestStore) {
    let of_span = EventContext::Span(key(1, 2));
    store
        .write([
            Age::Expired.span(span(1, 1, 0, 9)),
            Age::Expired.log(of_span, "kept"),
            Age::Expired.metric(of_span, "m"),
            Age::Alive.span(child(1, 2, 1, 1, 2)),
            Age::Expired.span(span(2, 1, 0, 9)),
        ])
        .await;
    store.write([Age::Alive.log(EventContext::Span(key(2, 1)), "keeps its span")]).await;
    assert_eq!(store.traces(TraceQuery::default()).await, [2, 1]);
    assert_eq!(store.tree(Some(1), 1, None).await.as_deref(), Some("1:1 2:2"));
    assert_eq!(store.logs(LogQuery::default()).await, ["keeps its span", "kept"]);
    assert_eq!(store.metrics(all_of("m")).await, ["{} 1: 0=1"]);
}

/// Logs and metric points without a trace expire one by one.
pub async fn signals_without_a_trace_expire_one_by_one(store: &mut TestStore) {
    let none = EventContext::None;
    store
        .write([
            Age::Expired.log(none, "gone"),
            Age::Alive.log(none, "there"),
            Age::Expired.metric(none, "gone"),
            Age::Alive.metric(none, "there"),
        ])
        .await;
    assert_eq!(store.logs(LogQuery::default()).await, ["there"]);
    assert_eq!(store.metrics(all_of("gone")).await, Vec::<String>::new());
    assert_eq!(store.metrics(all_of("there")).await, ["{} 1: 0=1"]);
}

/// Expiry counts from the arrival. How long ago a span started does not matter.
pub async fn expiry_counts_from_arrival(store: &mut TestStore) {
    let ancient = Span {
        start_time: Timestamp::from_nanos(1),
        end_time: Some(Timestamp::from_nanos(2)),
        arrived: Timestamp::now(),
        ttl: Ttl::from_seconds(3_600).unwrap_or_default(),
        ..span(1, 1, 0, 0)
    };
    store.write([ended(ancient)]).await;
    assert_eq!(store.traces(TraceQuery::default()).await, [1]);
}

/// The id of an expired trace can be used again, and nothing of the old trace comes back.
pub async fn an_expired_id_can_be_used_again(store: &mut TestStore) {
    store
        .write([Age::Expired.span(span(1, 1, 0, 9)), Age::Expired.log(EventContext::Span(key(1, 1)), "old")])
        .await;
    let (arrived, ttl) = (Timestamp::now(), Ttl::from_seconds(3_600).unwrap_or_default());
    store.write([started(Span { arrived, ttl, ..open_span(1, 2, 50) })]).await;
    assert_eq!(store.trace(1).await.as_deref(), Some("2 50..-"));
    assert_eq!(store.span(1, 1).await, None);
    assert_eq!(store.logs(LogQuery::default()).await, Vec::<String>::new());
    // The same for a span id: the old span had ended.
    store.write([ended(Span { arrived, ttl, ..span(1, 1, 60, 70) })]).await;
    assert_eq!(store.span_text(1, 1).await.as_deref(), Some("span ok 60..70 {}"));
}
