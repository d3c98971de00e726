//! What the assembler emits and sinks receive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Attributes, LogRecord, MetricPoint, Span, SpanKey, SpanStatus, Timestamp, Ttl};

/// One item that a sink receives.
///
/// A log, a metric point or a span event is a signal exactly once, before its span ends.
/// [`Signal::SpanEnded`] lists the same `Arc`s again. A sink uses the signals or the list, never both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Signal {
    /// A span started. A second start with the same key replaces the first.
    SpanStarted(Arc<Span>),
    /// A span is complete; or it is `Unfinished`, and nothing more is known of it.
    SpanEnded(Arc<Span>),
    /// An end whose start is unknown. Stores join it with a start that they know, or keep it.
    EndWaiting(Arc<WaitingEnd>),
    /// A log line, or a span event received by OTLP.
    Log(Arc<LogRecord>),
    /// A metric point.
    Metric(Arc<MetricPoint>),
}

impl Signal {
    /// Returns the set of only this kind of signal.
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

/// The end of a span whose start has not arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingEnd {
    /// The span that ended, with the ids of the event.
    pub key: SpanKey,
    /// When it ended.
    pub end_time: Timestamp,
    /// How it ended.
    pub status: SpanStatus,
    /// Its attributes.
    pub attributes: Attributes,
    /// When the end reached this program.
    pub arrived: Timestamp,
    /// How long stores keep it, counted from `arrived`.
    pub ttl: Ttl,
}

impl WaitingEnd {
    /// Returns the time at which stores forget the end.
    pub fn expires(&self) -> Timestamp {
        self.arrived.saturating_add(self.ttl.as_duration())
    }
}

/// How an event was received. Decides what the assembler counts as late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// Logged as an event, in order: by this process or by `POST /events`.
    #[default]
    Events,
    /// Received by OTLP, which promises no order.
    Otlp,
}

/// A set of kinds of signals, for example those that a sink is interested in.
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

    /// Returns true if every kind of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if the sets have a kind in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns true if the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the kinds as bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the index of the kind, for a set of exactly one kind.
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
