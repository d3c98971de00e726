//! What the assembler emits and sinks receive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Attributes, EventContext, MetricKind, MetricValue, Severity, Span, SpanKey, SpanStatus, Text, Timestamp,
    Ttl,
};

/// One thing a sink is told.
///
/// Every accepted event becomes a signal or a counted refusal. A log, a metric or a span event is a
/// signal exactly once, before its span's end; [`Signal::SpanEnded`] lists the same `Arc`s again, so
/// a sink keeps one form or the other, never both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Signal {
    /// A span has started, or started again with the same key: replace what is known of it.
    SpanStarted(Arc<Span>),
    /// A span is whole; or, with state `Unfinished`, this is all that is known of it.
    SpanEnded(Arc<Span>),
    /// An end whose start is unknown. Stores join it with a start they know, or keep it.
    EndWaiting(Arc<WaitingEnd>),
    /// A log line, or a span event that came by OTLP.
    Log(Arc<LogRecord>),
    /// A measurement.
    Metric(Arc<MetricPoint>),
}

impl Signal {
    /// The set that holds just this kind of signal.
    pub const fn kind(&self) -> SignalSet {
        match self {
            Self::SpanStarted(_) => SignalSet::SPAN_STARTED,
            Self::SpanEnded(_) => SignalSet::SPAN_ENDED,
            Self::EndWaiting(_) => SignalSet::END_WAITING,
            Self::Log(_) => SignalSet::LOG,
            Self::Metric(_) => SignalSet::METRIC,
        }
    }
}

/// A log line, or a span event that came by OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was logged.
    pub timestamp: Timestamp,
    /// What was logged.
    pub body: LogBody,
    /// Its attributes.
    pub attributes: Attributes,
    /// The service it came from; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, from `arrived`.
    pub ttl: Ttl,
}

/// What a [`LogRecord`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogBody {
    /// A log line.
    Message {
        /// How much it matters.
        severity: Severity,
        /// The text.
        message: Text,
    },
    /// A span event that came by OTLP. Not exported as a log.
    SpanEvent {
        /// The event's name.
        name: Text,
    },
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The trace and span it belongs to, if any.
    pub context: EventContext,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The metric's name as logged.
    pub name: Text,
    /// The value.
    pub value: MetricValue,
    /// The unit.
    pub unit: Text,
    /// The instrument, where the caller said it.
    pub kind: Option<MetricKind>,
    /// The labels.
    pub attributes: Attributes,
    /// The service it came from; `None` is the service of this process.
    pub service_name: Option<Arc<str>>,
    /// When it reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, from `arrived`.
    pub ttl: Ttl,
    /// Where the cumulative stream it was counted from stands now; stores keep it in the same commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Arc<StreamMark>>,
}

/// The latest reading of a cumulative stream that came by OTLP: what its next point is counted from,
/// also after a restart. Stores keep the latest mark of each stream as long as its point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// The stream: a hash of all that tells it from others.
    pub stream: u128,
    /// The reading, in a form that only the receiver reads.
    pub state: Text,
}

/// The end of a span whose start has not come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingEnd {
    /// The span that ended, under the ids the event carried.
    pub key: SpanKey,
    /// When it ended.
    pub end_time: Timestamp,
    /// How it ended.
    pub status: SpanStatus,
    /// The end's attributes.
    pub attributes: Attributes,
    /// When the end reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, from `arrived`.
    pub ttl: Ttl,
}

macro_rules! expires {
    ($($signal:ty),+) => {$(
        impl $signal {
            /// When stores forget it.
            pub fn expires(&self) -> Timestamp {
                self.arrived.saturating_add(self.ttl.as_duration())
            }
        }
    )+};
}

expires!(LogRecord, MetricPoint, WaitingEnd);

/// How an event came in. Decides what the assembler counts as late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// Logged as an event, in order: by this process or by `POST /events`.
    #[default]
    Events,
    /// Received by OTLP, where order means nothing.
    Otlp,
}

/// A set of kinds of signals: what a sink is interested in.
///
/// ```
/// use telemetry_core::SignalSet;
///
/// let interest = SignalSet::LOG | SignalSet::METRIC;
/// assert!(interest.contains(SignalSet::LOG));
/// assert!(!interest.contains(SignalSet::SPAN_ENDED));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalSet(u8);

impl SignalSet {
    /// No signal.
    pub const NONE: Self = Self(0);
    /// [`Signal::SpanStarted`].
    pub const SPAN_STARTED: Self = Self(1);
    /// [`Signal::SpanEnded`].
    pub const SPAN_ENDED: Self = Self(2);
    /// [`Signal::EndWaiting`].
    pub const END_WAITING: Self = Self(4);
    /// [`Signal::Log`].
    pub const LOG: Self = Self(8);
    /// [`Signal::Metric`].
    pub const METRIC: Self = Self(16);
    /// Every signal.
    pub const ALL: Self = Self(31);

    /// The number of kinds; bit `i` of a set is kind `i`.
    pub const KINDS: usize = 5;

    /// Whether every kind of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets share a kind.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds as bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The place of a set of exactly one kind, below [`SignalSet::KINDS`].
    pub(crate) const fn index(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}

impl std::ops::BitOr for SignalSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
