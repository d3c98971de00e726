//! Logs, metric points, and the state of the streams that points were counted from.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::SqliteConnection;
use telemetry_core::{
    LogBody, LogRecord, MetricPoint, MetricValue, Span, SpanEvent, SpanKey, canonical_name,
};
use xxhash_rust::xxh3::xxh3_128;

use super::batch_parts::BatchPart;
use super::file_state::FileState;
use super::traces::Traces;
use crate::bulk_statement::BulkStatement;
use crate::rows::{
    LogColumns, PointColumns, SeriesColumns, Values, column_names, placeholders, span_id_bits, table_columns,
};

table_columns! {
    /// A row of `log_row`.
    struct LogRow<'r> {
        id: i64,
        trace: Option<i64>,
        log: LogColumns<'r>,
        expires: Option<i64>,
    }
}

table_columns! {
    /// A row of `metric_point`.
    struct PointRow {
        id: i64,
        series: i64,
        trace: Option<i64>,
        span_id: Option<i64>,
        point: PointColumns,
        expires: i64,
    }
}

table_columns! {
    /// A row of `metric_series`.
    struct SeriesRow<'r> {
        key: &'r [u8],
        series: SeriesColumns<'r>,
        canonical: Cow<'r, str>,
        floats: bool,
    }
}

table_columns! {
    /// A row of `stream_mark`.
    struct StreamRow<'r> {
        stream: Cow<'r, [u8]>,
        state: Cow<'r, str>,
        expires: i64,
    }
}

/// Stores logs and metric points.
pub(super) struct LogsAndPoints {
    logs: BulkStatement,
    points: BulkStatement,
    streams: BulkStatement,
}

impl LogsAndPoints {
    pub(super) fn new() -> Self {
        Self {
            logs: BulkStatement::new::<LogRow<'_>>("INSERT INTO log_row", ""),
            points: BulkStatement::new::<PointRow>("INSERT INTO metric_point", ""),
            streams: BulkStatement::new::<StreamRow<'_>>(
                "INSERT INTO stream_mark",
                "ON CONFLICT (stream) DO UPDATE SET state = excluded.state, expires = excluded.expires",
            ),
        }
    }

    /// Stores the logs and metric points of a part of a batch, numbered in order of arrival, and the state of the
    /// streams that the points were counted from. Leaves out the events of `repeated` spans: those were stored when
    /// the spans were stored first.
    pub(super) async fn store(
        &self,
        db: &mut SqliteConnection,
        part: &BatchPart<'_>,
        traces: &Traces,
        repeated: &[&Span],
        state: &mut FileState,
    ) -> Result<(), sqlx::Error> {
        let first = state.next_event;
        state.next_event += i64::try_from(part.events()).unwrap_or(i64::MAX);
        let mut repeated_by_key: HashMap<SpanKey, Vec<&Span>> = HashMap::new();
        for span in repeated {
            repeated_by_key.entry(span.key()).or_default().push(span);
        }
        let is_new = |log: &LogRecord| {
            let spans = log.context.span_key().and_then(|key| repeated_by_key.get(&key));
            spans.is_none_or(|spans| !spans.iter().any(|span| is_event_of(log, span)))
        };
        let logs: Vec<_> = part.logs.iter().filter(|(_, _, log)| is_new(log)).collect();
        let logs = logs.into_iter().map(|(index, trace, log)| LogRow {
            id: first + index,
            trace: trace.map(|trace| traces.number(trace)),
            log: LogColumns::of(log, state.service(log.service_name.as_ref())),
            expires: trace.is_none().then(|| log.expires().as_nanos()),
        });
        self.logs.execute(&mut *db, logs).await?;
        let mut series = Vec::with_capacity(part.points.len());
        for (_, _, point) in &part.points {
            series.push(series_of(db, point, state).await?);
        }
        let with_stream =
            part.points.iter().filter_map(|(_, _, point)| Some((point.stream.as_deref()?, point)));
        let streams: Vec<StreamRow<'_>> = with_stream
            .map(|(mark, point)| StreamRow {
                stream: mark.stream.to_be_bytes().to_vec().into(),
                state: Cow::Borrowed(&mark.state),
                expires: point.expires().as_nanos(),
            })
            .collect();
        self.streams.execute(&mut *db, streams.into_iter()).await?;
        let points = part.points.iter().zip(series).map(|((index, trace, point), series)| PointRow {
            id: first + index,
            series,
            trace: trace.map(|trace| traces.number(trace)),
            span_id: point.context.span_id().map(span_id_bits),
            point: PointColumns::of(point),
            expires: point.expires().as_nanos(),
        });
        self.points.execute(db, points).await?;
        Ok(())
    }
}

/// Returns the number of a point's series. Adds the series to the file if it is missing.
async fn series_of(
    db: &mut SqliteConnection,
    point: &MetricPoint,
    state: &mut FileState,
) -> Result<i64, sqlx::Error> {
    static INSERT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        format!(
            "INSERT INTO metric_series ({}) VALUES ({}) \
             ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id",
            column_names::<SeriesRow<'_>>().join(", "),
            placeholders::<SeriesRow<'_>>()
        )
    });
    let series = SeriesColumns::of(point, state.service(point.service_name.as_ref()));
    let rest = format!("{} {:?}", series.service, series.kind);
    // The hash is part of the file format.
    let parts = [&*series.name, &*series.unit, &*series.labels, &*rest];
    let key = xxh3_128(parts.map(|part| format!("{}:{part}", part.len())).concat().as_bytes());
    if let Some(&id) = state.series.get(&key) {
        return Ok(id);
    }
    let row = SeriesRow {
        key: &key.to_be_bytes(),
        series,
        canonical: Cow::Borrowed(canonical_name(&point.name)),
        floats: matches!(point.value, MetricValue::Float(_)),
    };
    let values = Values::of(row).finish()?;
    let id = sqlx::query_scalar_with(INSERT.as_str(), values).fetch_one(db).await?;
    state.series.insert(key, id);
    Ok(id)
}

/// Returns true if the log is one of the span events that the span came with. A span that dropped events does not list
/// them all, so every span event counts.
fn is_event_of(log: &LogRecord, span: &Span) -> bool {
    let is_listed = |event: &SpanEvent| matches!(event, SpanEvent::Log(listed) if **listed == *log);
    matches!(log.body, LogBody::SpanEvent { .. })
        && (span.dropped_events_count > 0 || span.events.iter().any(is_listed))
}
