//! What the store has already of what an import brings.

use std::collections::HashSet;

use serde_json::json;
use sqlx::{Row as _, SqliteConnection};
use telemetry_core::{EventContext, LogBody, MetricValue, SinkError, SpanKey, Timestamp, canonical_name};

use super::convert::Converted;
use crate::Config;
use crate::codes::Code as _;
use crate::connect::{self, Role};
use crate::error::write_error;
use crate::rows::{span_id_bits, span_id_of};

/// Looks into the store, on a connection of its own.
pub(super) struct Known {
    config: Config,
    db: SqliteConnection,
    now: i64,
    /// The event asked for last, and how many like it are stored and not yet accounted for.
    alike: Option<(Converted, i64)>,
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

impl Known {
    pub(super) async fn open(config: &Config, now: Timestamp) -> Result<Self, SinkError> {
        let db =
            connect::open(config, Role::Reader).await.map_err(|error| write_error(&config.path, error))?;
        Ok(Self { config: config.clone(), db, now: now.as_nanos(), alike: None })
    }

    /// Those of these spans that are stored.
    pub(super) async fn spans(&mut self, keys: &[SpanKey]) -> Result<HashSet<SpanKey>, SinkError> {
        let list: Vec<_> =
            keys.iter().map(|key| json!([key.trace_id.to_string(), span_id_bits(key.span_id)])).collect();
        let read = async {
            let list = serde_json::Value::from(list).to_string();
            let rows = sqlx::query(SPANS).bind(list).bind(self.now).fetch_all(&mut self.db).await?;
            let key = |row: &sqlx::sqlite::SqliteRow| -> Result<SpanKey, sqlx::Error> {
                let trace: &str = row.try_get_unchecked(0)?;
                let trace = trace.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                Ok(SpanKey::new(trace, span_id_of(row.try_get_unchecked(1)?)?))
            };
            rows.iter().map(key).collect()
        };
        let found: Result<_, sqlx::Error> = read.await;
        found.map_err(|error| write_error(&self.config.path, error))
    }

    /// Whether this event, which no span vouches for, is stored. Asked for events that are alike one after
    /// the other, it says so as often as they are stored.
    pub(super) async fn has(&mut self, event: &Converted) -> Result<bool, SinkError> {
        let stored = match &mut self.alike {
            Some((alike, stored)) if alike == event => stored,
            _ => {
                let counted =
                    self.count(event).await.map_err(|error| write_error(&self.config.path, error))?;
                &mut self.alike.insert((event.clone(), counted)).1
            }
        };
        *stored -= 1;
        Ok(*stored >= 0)
    }

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
