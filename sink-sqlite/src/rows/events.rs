//! Logs and metric points as columns.

use std::borrow::Cow;

use telemetry_core::{EventContext, LogBody, LogRecord, MetricPoint, MetricValue, SpanKey, Timestamp};

use super::columns::table_columns;
use super::services::Services;
use super::values::{
    StoredWord, arrival, attributes_of, lag, span_id_bits, span_id_of, trace_id_of, ttl_of, ttl_seconds, word,
};

/// Returns what an event belongs to, from the columns of its trace and span.
fn event_context(trace_id: Option<&[u8]>, span_id: Option<i64>) -> Result<EventContext, sqlx::Error> {
    let trace_id = trace_id.map(trace_id_of).transpose()?;
    let span_id = span_id.map(span_id_of).transpose()?;
    Ok(match (trace_id, span_id) {
        (Some(trace_id), Some(span_id)) => EventContext::Span(SpanKey::new(trace_id, span_id)),
        (Some(trace_id), None) => EventContext::Trace(trace_id),
        (None, _) => EventContext::None,
    })
}

table_columns! {
    /// The columns of `log_row` that contain the log itself.
    pub(crate) struct LogColumns<'r> {
        span_id: Option<i64>,
        time: i64,
        severity: Option<i64>,
        body: Cow<'r, str>,
        attributes: Cow<'r, str>,
        service: i64,
        lag: i64,
        ttl: i64,
    }
}

impl<'r> LogColumns<'r> {
    /// Returns the columns of a log of the service with this number.
    pub(crate) fn of(log: &'r LogRecord, service: i64) -> Self {
        let (severity, body) = match &log.body {
            LogBody::Message { severity, message } => (Some(severity.code()), message),
            LogBody::SpanEvent { name } => (None, name),
        };
        Self {
            span_id: log.context.span_id().map(span_id_bits),
            time: log.timestamp.as_nanos(),
            severity,
            body: Cow::Borrowed(body),
            attributes: log.attributes.to_json().into(),
            service,
            lag: lag(log.arrived, log.timestamp),
            ttl: ttl_seconds(log.ttl),
        }
    }

    /// Returns the log.
    pub(crate) fn into_log(
        self,
        trace_id: Option<&[u8]>,
        services: &Services,
    ) -> Result<LogRecord, sqlx::Error> {
        let timestamp = Timestamp::from_nanos(self.time);
        let body = self.body.into_owned().into();
        Ok(LogRecord {
            context: event_context(trace_id, self.span_id)?,
            timestamp,
            body: match self.severity {
                Some(severity) => LogBody::Message { severity: word(severity)?, message: body },
                None => LogBody::SpanEvent { name: body },
            },
            attributes: attributes_of(&self.attributes)?,
            service_name: services.name(self.service),
            arrived: arrival(timestamp, self.lag),
            ttl: ttl_of(self.ttl),
        })
    }
}

table_columns! {
    /// The columns of `metric_series` that distinguish series.
    pub(crate) struct SeriesColumns<'r> {
        name: Cow<'r, str>,
        unit: Cow<'r, str>,
        kind: Option<i64>,
        labels: Cow<'r, str>,
        service: i64,
    }
}

table_columns! {
    /// The columns of `metric_point` that contain the point itself.
    pub(crate) struct PointColumns {
        time: i64,
        value: MetricValue,
        lag: i64,
        ttl: i64,
    }
}

impl<'r> SeriesColumns<'r> {
    /// Returns the columns of the series that a point of the service with this number belongs to.
    pub(crate) fn of(point: &'r MetricPoint, service: i64) -> Self {
        Self {
            name: Cow::Borrowed(&point.name),
            unit: Cow::Borrowed(&point.unit),
            kind: point.kind.map(StoredWord::code),
            labels: point.attributes.to_json().into(),
            service,
        }
    }
}

impl PointColumns {
    /// Returns the columns of a point.
    pub(crate) fn of(point: &MetricPoint) -> Self {
        Self {
            time: point.timestamp.as_nanos(),
            value: point.value,
            lag: lag(point.arrived, point.timestamp),
            ttl: ttl_seconds(point.ttl),
        }
    }

    /// Returns the point, of this series and of what `context` names.
    pub(crate) fn into_point(
        self,
        series: SeriesColumns<'_>,
        context: EventContext,
        services: &Services,
    ) -> Result<MetricPoint, sqlx::Error> {
        let timestamp = Timestamp::from_nanos(self.time);
        Ok(MetricPoint {
            context,
            timestamp,
            name: series.name.into_owned().into(),
            value: self.value,
            unit: series.unit.into_owned().into(),
            kind: series.kind.map(word).transpose()?,
            attributes: attributes_of(&series.labels)?,
            service_name: services.name(series.service),
            arrived: arrival(timestamp, self.lag),
            ttl: ttl_of(self.ttl),
            stream: None,
        })
    }
}
