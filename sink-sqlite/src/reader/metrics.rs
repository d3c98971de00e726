//! Metric queries: one series per label set and unit.
//!
//! Points lie in order of time within their series, so a window costs its own points. What a step keeps of
//! them is folded by SQLite, a statement per step: handing over every point would take ten times as long.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::{
    Aggregation, Fold, MetricPointValue, MetricQuery, MetricSeries, QueryType, Sample, aggregate,
    default_aggregation,
};
use telemetry_core::{
    Instruments, MetricKind, MetricValue, QueryError, Timestamp, canonical_name, known_metric,
};

use super::{Reader, Session};
use crate::error::query_error;
use crate::rows::{attributes_of, word};

/// A statement per step costs as much as reading so many points one by one.
const WORTHWHILE: u64 = 32;
/// Steps after which it is asked whether that is worth it.
const TRIED: u64 = 8;

/// Labels and unit.
type SeriesKey = (Vec<(String, String)>, String);
/// Steps by their start in seconds.
type Folds = BTreeMap<i64, Fold>;

impl Reader {
    /// One series per label set and unit.
    pub(super) async fn metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        let mut session = self.session().await?;
        let series = sqlx::query(
            "SELECT id, kind, floats, unit, labels, name FROM metric_series WHERE canonical = ? ORDER BY id",
        )
        .bind(canonical_name(&query.metric))
        .fetch_all(&mut *session.db)
        .await
        .map_err(query_error)?;
        let Some(kind) = kind_of(&query.metric, &series).map_err(query_error)? else { return Ok(Vec::new()) };
        let mut of_key: BTreeMap<SeriesKey, Vec<i64>> = BTreeMap::new();
        for row in &series {
            let read = || -> Result<_, sqlx::Error> {
                let attributes = attributes_of(row.try_get_unchecked(4)?)?;
                Ok((row.try_get_unchecked(0)?, row.try_get_unchecked::<String, _>(3)?, attributes))
            };
            let (id, unit, attributes): (i64, _, _) = read().map_err(query_error)?;
            if query.matchers.iter().all(|matcher| matcher.matches(&attributes)) {
                let mut labels: Vec<(String, String)> =
                    attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
                labels.sort();
                of_key.entry((labels, unit)).or_default().push(id);
            }
        }
        let mut answer = Vec::new();
        for ((labels, unit), ids) in of_key {
            let values = session.values(&query, kind, &ids).await?;
            if !values.is_empty() {
                answer.push(MetricSeries { metric: query.metric.clone(), labels, unit, values });
            }
        }
        Ok(answer)
    }
}

impl Session {
    /// The points of the answer, from stored series that are one.
    async fn values(
        &mut self,
        query: &MetricQuery,
        kind: MetricKind,
        ids: &[i64],
    ) -> Result<Vec<MetricPointValue>, QueryError> {
        let aggregation = query.aggregation.unwrap_or(default_aggregation(kind));
        let is_raw = query.query_type == QueryType::Range && query.granularity.is_none();
        let is_quantile =
            matches!(aggregation, Aggregation::P50 | Aggregation::P90 | Aggregation::P95 | Aggregation::P99);
        if is_raw || is_quantile {
            let mut samples = Vec::new();
            for &id in ids {
                self.each_sample(id, query.start, query, |sample, arrival| samples.push((sample, arrival)))
                    .await?;
            }
            samples.sort_by_key(|(sample, arrival)| (sample.time, *arrival));
            let samples: Vec<Sample> = samples.into_iter().map(|(sample, _)| sample).collect();
            return Ok(aggregate(query, kind, &samples));
        }
        let mut folds = Folds::new();
        for &id in ids {
            self.fold(id, query, aggregation, &mut folds).await?;
        }
        let point = |(timestamp, fold): (i64, Fold)| {
            fold.value(aggregation).map(|value| MetricPointValue { timestamp, value })
        };
        Ok(folds.into_iter().filter_map(point).collect())
    }

    /// Folds a stored series step by step, as long as steps hold many points; then point by point.
    async fn fold(
        &mut self,
        series: i64,
        query: &MetricQuery,
        aggregation: Aggregation,
        folds: &mut Folds,
    ) -> Result<(), QueryError> {
        let sql = match aggregation {
            Aggregation::Last => LATEST,
            Aggregation::Min | Aggregation::Max => EXTREMES,
            _ => TOTALS,
        };
        let (mut steps, mut points) = (0, 0);
        let mut next = self.first_since(series, query.start.as_nanos(), query).await?;
        while let Some(first) = next {
            if steps == TRIED && points < steps * WORTHWHILE {
                let since = Timestamp::from_nanos(first);
                return self
                    .each_sample(series, since, query, |sample, arrival| {
                        add(folds, step_of(query, sample.time), Fold::of(sample, arrival));
                    })
                    .await;
            }
            let last = last_of_step(query, Timestamp::from_nanos(first));
            let row = sqlx::query(sql)
                .bind(series)
                .bind(first)
                .bind(last)
                .bind(self.now)
                .fetch_optional(&mut *self.db)
                .await
                .map_err(query_error)?;
            if let Some(fold) = row.as_ref().map(read_fold).transpose().map_err(query_error)?.flatten() {
                points += fold.count;
                add(folds, step_of(query, Timestamp::from_nanos(first)), fold);
            }
            steps += 1;
            next = match last.checked_add(1) {
                Some(since) => self.first_since(series, since, query).await?,
                None => None,
            };
        }
        Ok(())
    }

    /// The time of the first point of a series within what is left of the window, also if it has expired.
    async fn first_since(
        &mut self,
        series: i64,
        since: i64,
        query: &MetricQuery,
    ) -> Result<Option<i64>, QueryError> {
        sqlx::query_scalar("SELECT min(time) FROM metric_point WHERE series = ?1 AND time BETWEEN ?2 AND ?3")
            .bind(series)
            .bind(since)
            .bind(query.end.as_nanos())
            .fetch_one(&mut *self.db)
            .await
            .map_err(query_error)
    }

    /// Every measurement of a series within the window from `since` on, with its place in order of arrival.
    async fn each_sample(
        &mut self,
        series: i64,
        since: Timestamp,
        query: &MetricQuery,
        mut take: impl FnMut(Sample, i64),
    ) -> Result<(), QueryError> {
        let mut rows = sqlx::query(
            "SELECT p.time, p.id, CAST(p.value AS REAL) FROM metric_point p LEFT JOIN trace t ON t.id = p.trace \
             WHERE p.series = ?1 AND p.time BETWEEN ?2 AND ?3 AND coalesce(t.expires, p.expires) > ?4",
        )
        .bind(series)
        .bind(since.as_nanos())
        .bind(query.end.as_nanos())
        .bind(self.now)
        .fetch(&mut *self.db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let read = || -> Result<_, sqlx::Error> {
                let time = Timestamp::from_nanos(row.try_get_unchecked(0)?);
                Ok((Sample { time, value: row.try_get_unchecked(2)? }, row.try_get_unchecked(1)?))
            };
            let (sample, arrival) = read().map_err(query_error)?;
            take(sample, arrival);
        }
        Ok(())
    }
}

/// The points of a step, their sum, and what else is asked of all. `last` is not among what it gives.
macro_rules! folded {
    ($extremes:literal) => {
        concat!(
            "SELECT count(*), total(p.value), ",
            $extremes,
            ", 0, 0, 0.0 FROM metric_point p LEFT JOIN trace t ON t.id = p.trace ",
            "WHERE p.series = ?1 AND p.time BETWEEN ?2 AND ?3 AND coalesce(t.expires, p.expires) > ?4"
        )
    };
}

/// The least and the largest take as long as all the rest: computed only where they are asked for.
const TOTALS: &str = folded!("0.0, 0.0");
const EXTREMES: &str = folded!("CAST(min(p.value) AS REAL), CAST(max(p.value) AS REAL)");

/// The latest point of a step, and nothing else: found from the end, whatever lies before it.
const LATEST: &str = "SELECT 1000, 0.0, 0.0, 0.0, p.time, p.id, CAST(p.value AS REAL) \
    FROM metric_point p LEFT JOIN trace t ON t.id = p.trace \
    WHERE p.series = ?1 AND p.time BETWEEN ?2 AND ?3 AND coalesce(t.expires, p.expires) > ?4 \
    ORDER BY p.time DESC, p.id DESC LIMIT 1";

fn read_fold(row: &SqliteRow) -> Result<Option<Fold>, sqlx::Error> {
    let count: i64 = row.try_get_unchecked(0)?;
    if count == 0 {
        return Ok(None);
    }
    Ok(Some(Fold {
        count: count.cast_unsigned(),
        sum: row.try_get_unchecked(1)?,
        min: row.try_get_unchecked(2)?,
        max: row.try_get_unchecked(3)?,
        last_at: (Timestamp::from_nanos(row.try_get_unchecked(4)?), row.try_get_unchecked(5)?),
        last: row.try_get_unchecked(6)?,
    }))
}

fn add(folds: &mut Folds, step: i64, fold: Fold) {
    match folds.entry(step) {
        Entry::Vacant(place) => drop(place.insert(fold)),
        Entry::Occupied(mut place) => place.get_mut().merge(&fold),
    }
}

/// The timestamp of the point that a measurement goes into.
fn step_of(query: &MetricQuery, time: Timestamp) -> i64 {
    match (query.query_type, query.granularity) {
        (QueryType::Range, Some(step)) => step.step_of(time),
        (QueryType::Range, None) | (QueryType::Instant, _) => query.end.as_seconds(),
    }
}

/// The last nanosecond of the window that is in the same step.
fn last_of_step(query: &MetricQuery, time: Timestamp) -> i64 {
    let end = query.end.as_nanos();
    match (query.query_type, query.granularity) {
        (QueryType::Range, Some(step)) => {
            let next = step.step_of(time).saturating_add(step.as_seconds());
            next.checked_mul(1_000_000_000).map_or(end, |next| end.min(next - 1))
        }
        (QueryType::Range, None) | (QueryType::Instant, _) => end,
    }
}

/// The instrument of a metric: as the table says, else as the events said first, else as the first value suggests.
fn kind_of(name: &str, series: &[SqliteRow]) -> Result<Option<MetricKind>, sqlx::Error> {
    let Some(first) = series.first() else { return Ok(None) };
    if let Some(known) = known_metric(name) {
        return Ok(Some(known.kind));
    }
    for row in series {
        if let Some(kind) = row.try_get_unchecked::<Option<i64>, _>(1)? {
            return word(kind).map(Some);
        }
    }
    let value = if first.try_get_unchecked(2)? { MetricValue::Float(0.0) } else { MetricValue::Int(0) };
    Ok(Some(Instruments::guess(name, value)))
}
