//! Metric queries, and the metric points of a span.
//!
//! The points of a series lie in order of time, so a query reads only the points of its window. SQLite folds the points
//! of a step, with a statement per step: passing on every point would take ten times as long.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use telemetry_core::query::{
    Aggregation, Fold, MAX_RAW_POINTS, MetricPointValue, MetricQuery, MetricSeries, QueryType, Sample,
    aggregate, default_aggregation,
};
use telemetry_core::{
    EventContext, Instruments, MetricKind, MetricPoint, MetricValue, QueryError, SpanKey, Timestamp,
    canonical_name, known_metric,
};

use super::session::{Reader, Session};
use crate::error::query_error;
use crate::rows::{
    PointColumns, SeriesColumns, attributes_of, read_row, select_list, selected_columns, span_id_bits, word,
};

/// A statement per step costs as much as reading so many points one by one.
const POINTS_PER_STATEMENT: u64 = 32;
/// Steps after which the query decides whether statements per step are worth it.
const TRIAL_STEPS: u64 = 8;

/// Labels and unit, which distinguish the series of an answer.
type SeriesKey = (Vec<(String, String)>, String);
/// The fold of each step, by the step's timestamp in seconds.
type Folds = BTreeMap<i64, Fold>;

selected_columns! {
    struct SeriesRow<'r> {
        id: i64 = "id",
        kind: Option<i64> = "kind",
        floats: bool = "floats",
        unit: String = "unit",
        labels: Cow<'r, str> = "labels",
    }
    const BY_NAME = "FROM metric_series WHERE canonical = ? ORDER BY id";
}

impl Reader {
    /// Returns one series per label set and unit.
    pub(super) async fn metrics(&self, query: MetricQuery) -> Result<Vec<MetricSeries>, QueryError> {
        let mut session = self.session().await?;
        let rows = sqlx::query(SeriesRow::BY_NAME)
            .bind(canonical_name(&query.metric))
            .fetch_all(&mut *session.db)
            .await
            .map_err(query_error)?;
        let series: Vec<SeriesRow<'_>> =
            rows.iter().map(read_row).collect::<Result<_, _>>().map_err(query_error)?;
        let Some(kind) = kind_of(&query.metric, &series).map_err(query_error)? else { return Ok(Vec::new()) };
        let mut ids_by_key: BTreeMap<SeriesKey, Vec<i64>> = BTreeMap::new();
        for SeriesRow { id, unit, labels, .. } in series {
            let attributes = attributes_of(&labels).map_err(query_error)?;
            if query.matchers.iter().all(|matcher| matcher.matches(&attributes)) {
                let mut labels: Vec<(String, String)> =
                    attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
                labels.sort();
                ids_by_key.entry((labels, unit)).or_default().push(id);
            }
        }
        let mut answer = Vec::new();
        let mut points_left = MAX_RAW_POINTS;
        for ((labels, unit), ids) in ids_by_key {
            let values = session.values(&query, kind, &ids, &mut points_left).await?;
            if !values.is_empty() {
                answer.push(MetricSeries { metric: query.metric.clone(), labels, unit, values });
            }
        }
        Ok(answer)
    }
}

impl Session {
    /// Returns the points of one series of the answer, from the stored series that it consists of.
    async fn values(
        &mut self,
        query: &MetricQuery,
        kind: MetricKind,
        ids: &[i64],
        points_left: &mut usize,
    ) -> Result<Vec<MetricPointValue>, QueryError> {
        let aggregation = query.aggregation.unwrap_or(default_aggregation(kind));
        let is_raw = query.query_type == QueryType::Range && query.granularity.is_none();
        let is_quantile =
            matches!(aggregation, Aggregation::P50 | Aggregation::P90 | Aggregation::P95 | Aggregation::P99);
        if is_raw || is_quantile {
            let mut samples = Vec::new();
            for &id in ids {
                let limit = if is_raw { *points_left - samples.len() } else { usize::MAX };
                let mut seen = 0;
                self.each_point(id, query.start, query, |sample, arrival| {
                    seen += 1;
                    if seen <= limit {
                        samples.push((sample, arrival));
                    }
                    seen <= limit
                })
                .await?;
                if seen > limit {
                    return Err(QueryError::Invalid(format!(
                        "the window has more than {MAX_RAW_POINTS} raw points; choose a shorter one, or a granularity such as `1m`"
                    )));
                }
            }
            if is_raw {
                *points_left -= samples.len();
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

    /// Folds a stored series step by step, as long as steps have many points. Then point by point.
    async fn fold(
        &mut self,
        series: i64,
        query: &MetricQuery,
        aggregation: Aggregation,
        folds: &mut Folds,
    ) -> Result<(), QueryError> {
        let statement = FoldStatement::of(aggregation);
        let (mut steps, mut points) = (0, 0);
        let mut next = self.first_since(series, query.start.as_nanos(), query).await?;
        while let Some(first) = next {
            if steps == TRIAL_STEPS && points < steps * POINTS_PER_STATEMENT {
                let since = Timestamp::from_nanos(first);
                return self
                    .each_point(series, since, query, |sample, arrival| {
                        add(folds, step_of(query, sample.time), Fold::of(sample, arrival));
                        true
                    })
                    .await;
            }
            let last = last_of_step(query, Timestamp::from_nanos(first));
            let row = sqlx::query(statement.sql())
                .bind(series)
                .bind(first)
                .bind(last)
                .bind(self.now)
                .fetch_optional(&mut *self.db)
                .await
                .map_err(query_error)?;
            let fold = row.as_ref().map(|row| statement.read(row)).transpose().map_err(query_error)?;
            if let Some(fold) = fold.flatten() {
                points += match statement {
                    FoldStatement::Totals | FoldStatement::Extremes => fold.count,
                    // Reads one point, however many the step has: always worth a statement.
                    FoldStatement::Latest => TRIAL_STEPS * POINTS_PER_STATEMENT,
                };
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

    /// Returns the time of the first point of a series in the rest of the window. The point may have expired.
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

    /// Passes every point of a series in the window from `since` on to `take`, with its position in order of arrival, until
    /// `take` returns false.
    async fn each_point(
        &mut self,
        series: i64,
        since: Timestamp,
        query: &MetricQuery,
        mut take: impl FnMut(Sample, i64) -> bool,
    ) -> Result<(), QueryError> {
        let mut rows = sqlx::query(NumberRow::OF_SERIES)
            .bind(series)
            .bind(since.as_nanos())
            .bind(query.end.as_nanos())
            .bind(self.now)
            .fetch(&mut *self.db);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let NumberRow { time, arrival, value } = read_row(&row).map_err(query_error)?;
            if !take(Sample { time: Timestamp::from_nanos(time), value }, arrival) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the metric points of a span, each with its number in order of arrival.
    pub(super) async fn points_of(
        &mut self,
        trace: i64,
        key: SpanKey,
    ) -> Result<Vec<(i64, MetricPoint)>, QueryError> {
        static OF_SPAN: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT p.id, {}, {} FROM metric_point p JOIN metric_series m ON m.id = p.series \
                 WHERE p.trace = ?1 AND p.span_id = ?2",
                select_list::<SeriesColumns<'_>>("m"),
                select_list::<PointColumns>("p")
            )
        });
        let rows = sqlx::query(OF_SPAN.as_str())
            .bind(trace)
            .bind(span_id_bits(key.span_id))
            .fetch_all(&mut *self.db)
            .await
            .map_err(query_error)?;
        let read = |row: &SqliteRow| {
            let (id, series, point): (i64, SeriesColumns<'_>, PointColumns) = read_row(row)?;
            Ok((id, point.into_point(series, EventContext::Span(key), &self.services)?))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(query_error)
    }
}

/// The end of a statement that reads the points of a series between two times, those that have not expired.
macro_rules! from_points {
    ($order:literal) => {
        concat!(
            "FROM metric_point p LEFT JOIN trace t ON t.id = p.trace \
             WHERE p.series = ?1 AND p.time BETWEEN ?2 AND ?3 AND coalesce(t.expires, p.expires) > ?4 ",
            $order
        )
    };
}

selected_columns! {
    /// What most aggregations need of the points of a step.
    struct Totals {
        count: i64 = "count(*)",
        sum: f64 = "total(p.value)",
    }
    const OF_STEP = from_points!("");
}

selected_columns! {
    /// The least and the largest value of a step. They take as long as all the rest, so only the aggregations that need
    /// them ask for them.
    struct Extremes {
        count: i64 = "count(*)",
        /// Null for a step without points, as is `max`.
        min: Option<f64> = "CAST(min(p.value) AS REAL)",
        max: Option<f64> = "CAST(max(p.value) AS REAL)",
    }
    const OF_STEP = from_points!("");
}

selected_columns! {
    /// A metric point as a number.
    struct NumberRow {
        time: i64 = "p.time",
        arrival: i64 = "p.id",
        value: f64 = "CAST(p.value AS REAL)",
    }
    const OF_SERIES = from_points!("");
    /// The latest point of a step. SQLite finds it from the end, whatever lies before it.
    const LATEST = from_points!("ORDER BY p.time DESC, p.id DESC LIMIT 1");
}

/// How SQLite folds the points of a step.
#[derive(Clone, Copy)]
enum FoldStatement {
    Totals,
    Extremes,
    Latest,
}

impl FoldStatement {
    const fn of(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Last => Self::Latest,
            Aggregation::Min | Aggregation::Max => Self::Extremes,
            _ => Self::Totals,
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::Totals => Totals::OF_STEP,
            Self::Extremes => Extremes::OF_STEP,
            Self::Latest => NumberRow::LATEST,
        }
    }

    /// Reads the fold. Returns `None` for a step without points.
    fn read(self, row: &SqliteRow) -> Result<Option<Fold>, sqlx::Error> {
        let empty = Fold::of(Sample { time: Timestamp::from_nanos(0), value: 0.0 }, 0);
        let fold = match self {
            Self::Totals => {
                let Totals { count, sum } = read_row(row)?;
                Fold { count: count.cast_unsigned(), sum, ..empty }
            }
            Self::Extremes => {
                let Extremes { count, min: Some(min), max: Some(max) } = read_row(row)? else {
                    return Ok(None);
                };
                Fold { count: count.cast_unsigned(), min, max, ..empty }
            }
            Self::Latest => {
                let NumberRow { time, arrival, value } = read_row(row)?;
                Fold::of(Sample { time: Timestamp::from_nanos(time), value }, arrival)
            }
        };
        Ok((fold.count > 0).then_some(fold))
    }
}

/// Adds a fold to the fold of its step.
fn add(folds: &mut Folds, step: i64, fold: Fold) {
    match folds.entry(step) {
        Entry::Vacant(place) => drop(place.insert(fold)),
        Entry::Occupied(mut place) => place.get_mut().merge(&fold),
    }
}

/// Returns the timestamp of the point of the answer that a metric point counts for.
fn step_of(query: &MetricQuery, time: Timestamp) -> i64 {
    match (query.query_type, query.granularity) {
        (QueryType::Range, Some(step)) => step.step_of(time),
        (QueryType::Range, None) | (QueryType::Instant, _) => query.end.as_seconds(),
    }
}

/// Returns the last nanosecond of the window that is in the same step as `time`.
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

/// Returns the instrument of a metric: from the table of known metrics, else the first that an event named, else what
/// the name and the first value suggest.
fn kind_of(name: &str, series: &[SeriesRow<'_>]) -> Result<Option<MetricKind>, sqlx::Error> {
    let Some(first) = series.first() else { return Ok(None) };
    if let Some(known) = known_metric(name) {
        return Ok(Some(known.kind));
    }
    if let Some(kind) = series.iter().find_map(|series| series.kind) {
        return word(kind).map(Some);
    }
    let value = if first.floats { MetricValue::Float(0.0) } else { MetricValue::Int(0) };
    Ok(Some(Instruments::guess(name, value)))
}
