//! Logs, and the measurements of a span.

use futures_util::stream;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::LogQuery;
use telemetry_core::{
    EventContext, LogBody, LogRecord, MetricPoint, MetricValue, Pages, QueryError, SpanKey, Timestamp,
};

use super::{Reader, Session};
use crate::error::query_error;
use crate::rows::{arrival, attributes_of, span_id_bits, span_id_of, trace_id_of, ttl_of, word};
use crate::services::Services;

/// Logs looked at per step.
const STEP: i64 = 2_000;

/// Columns of a log, after its own number and its trace's id.
const LOG_COLUMNS: &str =
    "l.id, t.trace_id, l.span_id, l.time, l.severity, l.body, l.attributes, l.service, l.lag, l.ttl";

fn read_log(row: &SqliteRow, services: &Services) -> Result<(i64, LogRecord), sqlx::Error> {
    let timestamp = Timestamp::from_nanos(row.try_get_unchecked(3)?);
    let body: String = row.try_get_unchecked(5)?;
    let body = match row.try_get_unchecked::<Option<i64>, _>(4)? {
        Some(severity) => LogBody::Message { severity: word(severity)?, message: body.into() },
        None => LogBody::SpanEvent { name: body.into() },
    };
    let log = LogRecord {
        context: context(row, 1, 2)?,
        timestamp,
        body,
        attributes: attributes_of(row.try_get_unchecked(6)?)?,
        service_name: services.name(row.try_get_unchecked(7)?),
        arrived: arrival(timestamp, row.try_get_unchecked(8)?),
        ttl: ttl_of(row.try_get_unchecked(9)?),
    };
    Ok((row.try_get_unchecked(0)?, log))
}

fn context(row: &SqliteRow, trace: usize, span: usize) -> Result<EventContext, sqlx::Error> {
    let trace = row.try_get_unchecked::<Option<&[u8]>, _>(trace)?.map(trace_id_of).transpose()?;
    let span = row.try_get_unchecked::<Option<i64>, _>(span)?.map(span_id_of).transpose()?;
    Ok(match (trace, span) {
        (Some(trace), Some(span)) => EventContext::Span(SpanKey::new(trace, span)),
        (Some(trace), None) => EventContext::Trace(trace),
        (None, _) => EventContext::None,
    })
}

impl Session {
    /// The logs of a span, each with its number.
    pub(super) async fn logs_of(
        &mut self,
        trace: i64,
        key: SpanKey,
    ) -> Result<Vec<(i64, LogRecord)>, QueryError> {
        static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!(
                "SELECT {LOG_COLUMNS} FROM log_row l JOIN trace t ON t.id = l.trace \
                 WHERE l.trace = ?1 AND l.span_id = ?2"
            )
        });
        let rows = sqlx::query(SQL.as_str())
            .bind(trace)
            .bind(span_id_bits(key.span_id))
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        rows.iter().map(|row| read_log(row, &self.services)).collect::<Result<_, _>>().map_err(query_error)
    }

    /// The measurements of a span, each with its number.
    pub(super) async fn points_of(
        &mut self,
        trace: i64,
        key: SpanKey,
    ) -> Result<Vec<(i64, MetricPoint)>, QueryError> {
        let rows = sqlx::query(
            "SELECT p.id, m.name, m.unit, m.kind, m.labels, m.service, p.time, p.value, p.lag, p.ttl, \
             typeof(p.value) FROM metric_point p JOIN metric_series m ON m.id = p.series \
             WHERE p.trace = ?1 AND p.span_id = ?2",
        )
        .bind(trace)
        .bind(span_id_bits(key.span_id))
        .fetch_all(&mut *self.db)
        .await
        .map_err(query_error)?;
        let read = |row: &SqliteRow| -> Result<(i64, MetricPoint), sqlx::Error> {
            let timestamp = Timestamp::from_nanos(row.try_get_unchecked(6)?);
            let name: String = row.try_get_unchecked(1)?;
            let unit: String = row.try_get_unchecked(2)?;
            let is_float = row.try_get_unchecked::<&str, _>(10)? == "real";
            let value = if is_float {
                MetricValue::Float(row.try_get_unchecked(7)?)
            } else {
                MetricValue::Int(row.try_get_unchecked(7)?)
            };
            let point = MetricPoint {
                context: EventContext::Span(key),
                timestamp,
                name: name.into(),
                value,
                unit: unit.into(),
                kind: row.try_get_unchecked::<Option<i64>, _>(3)?.map(word).transpose()?,
                attributes: attributes_of(row.try_get_unchecked(4)?)?,
                service_name: self.services.name(row.try_get_unchecked(5)?),
                arrived: arrival(timestamp, row.try_get_unchecked(8)?),
                ttl: ttl_of(row.try_get_unchecked(9)?),
                stream: None,
            };
            Ok((row.try_get_unchecked(0)?, point))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(query_error)
    }

    /// The next logs in order, from where the last step ended.
    async fn log_step(
        &mut self,
        query: &LogQuery,
        trace: Option<i64>,
        after: (i64, i64),
    ) -> Result<Vec<(i64, LogRecord)>, QueryError> {
        static OF_TRACE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!(
                "SELECT {LOG_COLUMNS} FROM log_row l JOIN trace t ON t.id = l.trace \
                 WHERE l.trace = ?6 AND l.time <= ?1 AND (l.time < ?1 OR l.id < ?2) AND l.time >= ?3 \
                 AND t.expires > ?4 ORDER BY l.time DESC, l.id DESC LIMIT ?5"
            )
        });
        static OF_ALL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            format!(
                "SELECT {LOG_COLUMNS} FROM log_row l LEFT JOIN trace t ON t.id = l.trace \
                 WHERE l.time <= ?1 AND (l.time < ?1 OR l.id < ?2) AND l.time >= ?3 \
                 AND coalesce(l.expires, t.expires) > ?4 AND ?6 IS NULL ORDER BY l.time DESC, l.id DESC LIMIT ?5"
            )
        });
        let sql = if trace.is_some() { OF_TRACE.as_str() } else { OF_ALL.as_str() };
        let rows = sqlx::query(sql)
            .bind(after.0)
            .bind(after.1)
            .bind(query.start.map_or(i64::MIN, Timestamp::as_nanos))
            .bind(self.now)
            .bind(STEP)
            .bind(trace)
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        rows.iter().map(|row| read_log(row, &self.services)).collect::<Result<_, _>>().map_err(query_error)
    }
}

impl Reader {
    /// Logs, newest first, a step at a time.
    pub(super) fn logs(&self, query: LogQuery) -> Pages<LogRecord> {
        struct State {
            reader: Reader,
            query: LogQuery,
            after: (i64, i64),
            skip: u64,
            left: u64,
            done: bool,
        }
        let after = (query.end.map_or(i64::MAX, Timestamp::as_nanos), i64::MAX);
        let left = query.limit.unwrap_or(u64::MAX);
        let state = State { reader: self.clone(), after, skip: query.offset, left, done: left == 0, query };
        Box::pin(stream::try_unfold(state, |mut state| async move {
            if state.done {
                return Ok(None);
            }
            let reader = state.reader.clone();
            let step = async {
                let mut session = reader.session().await?;
                let trace = match state.query.trace_id {
                    None => None,
                    Some(trace_id) => match session.number_of(trace_id).await? {
                        Some(number) => Some(number),
                        None => return Ok(Vec::new()),
                    },
                };
                session.log_step(&state.query, trace, state.after).await
            };
            let logs: Vec<(i64, LogRecord)> = reader.within(step).await?;
            state.done = logs.len() < usize::try_from(STEP).unwrap_or(usize::MAX);
            if let Some((id, log)) = logs.last() {
                state.after = (log.timestamp.as_nanos(), *id);
            }
            let mut page = Vec::new();
            for (_, log) in logs.into_iter().filter(|(_, log)| state.query.matches(log)) {
                if state.skip > 0 {
                    state.skip -= 1;
                } else if state.left > 0 {
                    state.left -= 1;
                    page.push(log);
                }
            }
            state.done |= state.left == 0;
            Ok(Some((page, state)))
        }))
    }
}
