//! Logs and measurements.

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};
use telemetry_core::{
    LogBody, LogRecord, MetricPoint, MetricValue, Span, SpanEvent, SpanKey, StreamMark, canonical_name,
};
use xxhash_rust::xxh3::xxh3_128;

use super::plan::Plan;
use super::state::State;
use super::traces::Traces;
use crate::codes::Code;
use crate::rows::{lag, span_id_bits, ttl_seconds};
use crate::statement::{ManyRows, Values};

pub(super) struct Statements {
    logs: ManyRows,
    points: ManyRows,
    marks: ManyRows,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            logs: ManyRows::new(
                "INSERT INTO log_row \
                 (id, trace, span_id, time, severity, body, attributes, service, lag, ttl, expires) VALUES",
                11,
                "",
            ),
            points: ManyRows::new(
                "INSERT INTO metric_point (series, time, id, value, expires, trace, span_id, lag, ttl) VALUES",
                9,
                "",
            ),
            marks: ManyRows::new(
                "INSERT INTO stream_mark (stream, state, expires) VALUES",
                3,
                "ON CONFLICT (stream) DO UPDATE SET state = excluded.state, expires = excluded.expires",
            ),
        }
    }

    /// Stores the logs and measurements of a batch, numbered in the order of their arrival, and where the
    /// streams they were counted from stand. Of spans that are `repeated`, stored before, the events were
    /// stored with them.
    pub(super) async fn store(
        &self,
        db: &mut SqliteConnection,
        plan: &Plan<'_>,
        traces: &Traces,
        repeated: &[&Span],
        state: &mut State,
    ) -> Result<(), sqlx::Error> {
        let first = state.next_event;
        state.next_event += i64::try_from(plan.events()).unwrap_or(i64::MAX);
        let mut of_key: HashMap<SpanKey, Vec<&Span>> = HashMap::new();
        for span in repeated {
            of_key.entry(span.key()).or_default().push(span);
        }
        let is_new = |log: &LogRecord| {
            let spans = log.context.span_key().and_then(|key| of_key.get(&key));
            spans.is_none_or(|spans| !spans.iter().any(|span| is_event_of(log, span)))
        };
        let logs: Vec<_> = plan.logs.iter().filter(|(_, _, log)| is_new(log)).collect();
        self.logs
            .execute(&mut *db, logs.into_iter(), |values, (place, trace, log)| {
                let (severity, body) = match &log.body {
                    LogBody::Message { severity, message } => (Some(severity.code()), message),
                    LogBody::SpanEvent { name } => (None, name),
                };
                values.add(first + place);
                values.add(trace.map(|place| traces.number(place)));
                values.add(log.context.span_id().map(span_id_bits));
                values.add(log.timestamp.as_nanos());
                values.add(severity);
                values.add(body.clone().into_owned());
                values.add(log.attributes.to_json());
                values.add(state.service(log.service_name.as_ref()));
                values.add(lag(log.arrived, log.timestamp));
                values.add(ttl_seconds(log.ttl));
                values.add(trace.is_none().then(|| log.expires().as_nanos()));
            })
            .await?;
        let mut series = Vec::with_capacity(plan.points.len());
        for (_, _, point) in &plan.points {
            series.push(series_of(db, point, state).await?);
        }
        let marked = plan.points.iter().filter_map(|(_, _, point)| Some((point.stream.as_deref()?, point)));
        let marks: Vec<(&StreamMark, _)> = marked.collect();
        self.marks
            .execute(&mut *db, marks.into_iter(), |values, (mark, point)| {
                values.add(mark.stream.to_be_bytes().to_vec());
                values.add(mark.state.clone().into_owned());
                values.add(point.expires().as_nanos());
            })
            .await?;
        self.points
            .execute(db, plan.points.iter().zip(series), |values, ((place, trace, point), series)| {
                values.add(series);
                values.add(point.timestamp.as_nanos());
                values.add(first + place);
                add_value(values, point.value);
                values.add(point.expires().as_nanos());
                values.add(trace.map(|place| traces.number(place)));
                values.add(point.context.span_id().map(span_id_bits));
                values.add(lag(point.arrived, point.timestamp));
                values.add(ttl_seconds(point.ttl));
            })
            .await?;
        Ok(())
    }
}

fn add_value(values: &mut Values, value: MetricValue) {
    match value {
        MetricValue::Int(number) => values.add(number),
        MetricValue::Float(number) => values.add(number),
    }
}

/// The number of a measurement's series; a new one if there is none.
async fn series_of(
    db: &mut SqliteConnection,
    point: &MetricPoint,
    state: &mut State,
) -> Result<i64, sqlx::Error> {
    let labels = point.attributes.to_json();
    let service = state.service(point.service_name.as_ref());
    let kind = point.kind.map(Code::code);
    let rest = format!("{service} {kind:?}");
    let parts = [point.name.as_ref(), point.unit.as_ref(), labels.as_str(), rest.as_str()];
    let key = xxh3_128(parts.map(|part| format!("{}:{part}", part.len())).concat().as_bytes());
    if let Some(&id) = state.series.get(&key) {
        return Ok(id);
    }
    let row = sqlx::query(
        "INSERT INTO metric_series (key, name, canonical, unit, kind, floats, labels, service) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id",
    )
    .bind(&key.to_be_bytes()[..])
    .bind(point.name.as_ref())
    .bind(canonical_name(&point.name))
    .bind(point.unit.as_ref())
    .bind(kind)
    .bind(matches!(point.value, MetricValue::Float(_)))
    .bind(labels)
    .bind(service)
    .fetch_one(db)
    .await?;
    let id = row.try_get(0)?;
    state.series.insert(key, id);
    Ok(id)
}

/// Whether the log, which is in the span, is an event it came with. A span that had more than it may list does not say
/// which, so all are taken for its own.
fn is_event_of(log: &LogRecord, span: &Span) -> bool {
    let is_listed = |event: &SpanEvent| matches!(event, SpanEvent::Log(listed) if **listed == *log);
    matches!(log.body, LogBody::SpanEvent { .. })
        && (span.dropped_events_count > 0 || span.events.iter().any(is_listed))
}
