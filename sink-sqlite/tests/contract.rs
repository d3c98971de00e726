//! The sink fulfils the contract of sinks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};
use support::Database;
use telemetry_core::query::{LogQuery, SpanQuery};
use telemetry_core::{
    BuiltSink, EventContext, MetricPoint, MetricValue, Options, RunId, SinkContext, SinkEntry, SinkError,
    SpanKey, SpanState, Text, Timestamp, TraceStore, Ttl,
};
use telemetry_testkit::collect;
use telemetry_testkit::{Delivered, Harness, SERVICE_NAME};

telemetry_testkit::sink_contract!(SharedDatabase, lacks { c15_secrets: "takes no secret" });

/// A database that is read while its sink runs, and that another program can lock.
struct SharedDatabase {
    database: Database,
    store: Mutex<Option<Arc<dyn TraceStore>>>,
    /// The connection of another program that is in the middle of a write.
    other: tokio::sync::Mutex<Option<SqliteConnection>>,
}

impl SharedDatabase {
    fn connect_options(&self) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new().filename(self.database.path());
        options.busy_timeout(Duration::from_secs(5)).disable_statement_logging()
    }

    /// Returns spans and logs as queries return them.
    async fn spans_and_logs(store: &dyn TraceStore) -> Option<Delivered> {
        let mut spans = collect(store.query_spans(SpanQuery::default())).await.ok()?;
        spans.retain(|span| span.state != SpanState::Open);
        // Queries return the newest first, and the reverse of the ids where times are equal.
        spans.reverse();
        let mut logs =
            collect(store.query_logs(LogQuery { limit: None, ..LogQuery::default() })).await.ok()?;
        logs.reverse();
        Some(Delivered { spans, logs, metrics: Vec::new() })
    }

    /// Returns metric points as the view `metrics` shows them.
    async fn metrics(&self) -> Vec<MetricPoint> {
        let mut db = self.connect_options().read_only(true).connect().await.unwrap();
        let sql = "SELECT metric, unit, labels, timestamp, value, typeof(value), trace_id, span_id \
                   FROM metrics ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(&mut db).await.unwrap();
        let point = |row: &sqlx::sqlite::SqliteRow| {
            let text = |column: usize| row.get_unchecked::<String, _>(column);
            let value: MetricValue = match text(5).as_str() {
                "integer" => row.get_unchecked::<i64, _>(4).into(),
                _ => row.get_unchecked::<f64, _>(4).into(),
            };
            let context = match (text(6).parse(), text(7).parse()) {
                (Ok(trace), Ok(span)) => EventContext::Span(SpanKey::new(trace, span)),
                (Ok(trace), Err(_)) => EventContext::Trace(trace),
                (Err(_), _) => EventContext::None,
            };
            MetricPoint {
                context,
                timestamp: text(3).parse().unwrap(),
                name: Text::Owned(text(0)),
                value,
                unit: Text::Owned(text(1)),
                kind: None,
                attributes: serde_json::from_str(&text(2)).unwrap(),
                service_name: None,
                arrived: Timestamp::default(),
                ttl: Ttl::default(),
                stream: None,
            }
        };
        rows.iter().map(point).collect()
    }
}

#[async_trait]
impl Harness for SharedDatabase {
    fn new() -> Self {
        Self { database: Database::new(), store: Mutex::default(), other: tokio::sync::Mutex::default() }
    }

    fn entry(&self) -> &'static SinkEntry {
        self.database.entry()
    }

    fn options(&self) -> Options {
        self.database.options()
    }

    async fn build(&self) -> Result<BuiltSink, SinkError> {
        let context =
            SinkContext { service_name: SERVICE_NAME.into(), options: self.options(), run: RunId(1) };
        let built = (self.entry().build)(&context).await?;
        self.store.lock().unwrap().clone_from(&built.store);
        Ok(built)
    }

    async fn delivered(&self) -> Delivered {
        let running = self.store.lock().unwrap().clone();
        let mut delivered = match running {
            Some(store) => Self::spans_and_logs(&*store).await,
            None => None,
        };
        if delivered.is_none() {
            // The sink that the store belongs to has been shut down.
            let built = self.database.build().await.unwrap();
            delivered = Self::spans_and_logs(&*built.store.unwrap()).await;
            built.sink.shutdown().await.unwrap();
        }
        Delivered { metrics: self.metrics().await, ..delivered.unwrap() }
    }

    /// Removes what the view `metrics` does not show: when the points arrived.
    fn normalize(&self, delivered: &mut Delivered) {
        for point in &mut delivered.metrics {
            (point.arrived, point.ttl) = (Timestamp::default(), Ttl::default());
        }
    }

    async fn break_destination(&self) -> bool {
        let mut other = self.connect_options().connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        *self.other.lock().await = Some(other);
        true
    }

    async fn restore_destination(&self) {
        if let Some(mut other) = self.other.lock().await.take() {
            sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        }
    }
}
