//! Finds out which rows of an import are stored already.

use std::collections::HashSet;

use serde_json::json;
use sqlx::SqliteConnection;
use telemetry_core::{EventContext, LogBody, MetricValue, SinkError, SpanKey, Timestamp, canonical_name};

use super::convert::Converted;
use crate::config::Config;
use crate::connect::{self, Role};
use crate::error::write_error;
use crate::rows::{StoredWord as _, read_row, span_id_bits, span_id_of};

/// Reads the store on a connection of its own.
pub(super) struct AlreadyStored {
    config: Config,
    db: SqliteConnection,
    now: i64,
    /// The event that was checked last, and how many equal ones are stored and not matched yet.
    latest: Option<(Converted, i64)>,
}

const SPANS: &str = "SELECT lower(hex(t.trace_id)), s.span_id FROM ( \
       SELECT value ->> 0 AS trace_id, value ->> 1 AS span_id FROM json_each(?1)) j \
     CROSS JOIN trace t ON lower(hex(t.trace_id)) = j.trace_id AND t.expires > ?2 \
     CROSS JOIN (SELECT trace, span_id FROM span_row UNION ALL SELECT trace, span_id FROM span_open) s \
       ON s.trace = t.id AND s.span_id = j.span_id";

const LOGS: &str = "SELECT count(*) FROM log_row l WHERE l.time = ?1 AND l.severity IS ?2 AND l.body = ?3 \
     AND l.attributes = ?4 AND l.span_id IS ?5 \
     AND (?6 IS NULL AND l.trace IS NULL AND l.expires > ?7 \
       OR l.trace = (SELECT id FROM trace WHERE lower(hex(trace_id)) = ?6 AND expires > ?7))";

const POINTS: &str = "SELECT count(*) FROM metric_series m CROSS JOIN metric_point p ON p.series = m.id \
     WHERE m.canonical = ?2 AND m.name = ?3 AND m.unit = ?8 AND m.labels = ?4 \
     AND p.time = ?1 AND p.value = ?9 AND p.span_id IS ?5 \
     AND (?6 IS NULL AND p.trace IS NULL AND p.expires > ?7 \
       OR p.trace = (SELECT id FROM trace WHERE lower(hex(trace_id)) = ?6 AND expires > ?7))";

impl AlreadyStored {
    /// Opens a connection to the store.
    pub(super) async fn open(config: &Config, now: Timestamp) -> Result<Self, SinkError> {
        let db =
            connect::open(config, Role::Reader).await.map_err(|error| write_error(&config.path, error))?;
        Ok(Self { config: config.clone(), db, now: now.as_nanos(), latest: None })
    }

    /// Returns those of these spans that are stored.
    pub(super) async fn spans(&mut self, keys: &[SpanKey]) -> Result<HashSet<SpanKey>, SinkError> {
        let list: Vec<_> =
            keys.iter().map(|key| json!([key.trace_id.to_string(), span_id_bits(key.span_id)])).collect();
        let read = async {
            let list = serde_json::Value::from(list).to_string();
            let rows = sqlx::query(SPANS).bind(list).bind(self.now).fetch_all(&mut self.db).await?;
            let key = |row: &sqlx::sqlite::SqliteRow| -> Result<SpanKey, sqlx::Error> {
                let (trace_id, span_id): (String, i64) = read_row(row)?;
                let trace_id = trace_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                Ok(SpanKey::new(trace_id, span_id_of(span_id)?))
            };
            rows.iter().map(key).collect()
        };
        let found: Result<_, sqlx::Error> = read.await;
        found.map_err(|error| write_error(&self.config.path, error))
    }

    /// Returns true if this event, whose span is not stored, is stored. If it is called for several equal events, one
    /// after the other, it returns true as often as such an event is stored.
    pub(super) async fn has(&mut self, event: &Converted) -> Result<bool, SinkError> {
        let stored = match &mut self.latest {
            Some((latest, stored)) if latest == event => stored,
            _ => {
                let counted =
                    self.count(event).await.map_err(|error| write_error(&self.config.path, error))?;
                &mut self.latest.insert((event.clone(), counted)).1
            }
        };
        *stored -= 1;
        Ok(*stored >= 0)
    }

    /// Counts the stored events that are equal to this one.
    async fn count(&mut self, event: &Converted) -> Result<i64, sqlx::Error> {
        let (sql, context, time, attributes) = match event {
            Converted::Log(log) => (LOGS, log.context, log.timestamp, &log.attributes),
            Converted::Metric(point) => (POINTS, point.context, point.timestamp, &point.attributes),
        };
        let trace = EventContext::trace_id(context).map(|id| id.to_string());
        let span = context.span_id().map(span_id_bits);
        let query = sqlx::query_scalar(sql).bind(time.as_nanos());
        let query = match event {
            Converted::Log(log) => match &log.body {
                LogBody::Message { severity, message } => {
                    query.bind(Some(severity.code())).bind(message.as_ref())
                }
                LogBody::SpanEvent { name } => query.bind(None::<i64>).bind(name.as_ref()),
            },
            Converted::Metric(point) => query.bind(canonical_name(&point.name)).bind(point.name.as_ref()),
        };
        let query = query.bind(attributes.to_json()).bind(span).bind(trace).bind(self.now);
        let query = match event {
            Converted::Log(_) => query,
            Converted::Metric(point) => match point.value {
                MetricValue::Int(value) => query.bind(point.unit.as_ref()).bind(value),
                MetricValue::Float(value) => query.bind(point.unit.as_ref()).bind(value),
            },
        };
        query.fetch_one(&mut self.db).await
    }
}
