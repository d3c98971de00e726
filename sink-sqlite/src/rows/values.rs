//! How ids, times and words are stored in columns.

use telemetry_core::{
    Attributes, MetricKind, Severity, SpanId, SpanKind, SpanState, SpanStatus, Timestamp, TraceId, Ttl,
};

/// A word that is stored as its index in the list of all words. The index is part of the file format.
pub(crate) trait StoredWord: Copy + PartialEq + 'static {
    /// Every word, in the order of the file format.
    const WORDS: &'static [Self];

    /// Returns the number that stands for the word.
    fn code(self) -> i64 {
        let index = Self::WORDS.iter().position(|word| *word == self);
        i64::try_from(index.unwrap_or(0)).unwrap_or(0)
    }

    /// Returns the word that the number stands for.
    fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|index| Self::WORDS.get(index)).copied()
    }
}

macro_rules! stored_words {
    ($($word:ty),+) => {$( impl StoredWord for $word { const WORDS: &'static [Self] = Self::ALL; } )+};
}

stored_words!(SpanKind, SpanStatus, SpanState, Severity, MetricKind);

/// Returns the word that a column's number stands for.
pub(crate) fn word<T: StoredWord>(code: i64) -> Result<T, sqlx::Error> {
    T::from_code(code).ok_or_else(|| unreadable(format!("no word has the number {code}")))
}

/// Returns an id bit for bit: SQLite's integers are signed.
pub(crate) const fn span_id_bits(id: SpanId) -> i64 {
    id.as_u64().cast_signed()
}

/// Returns the span id that is stored as these bits.
pub(crate) fn span_id_of(bits: i64) -> Result<SpanId, sqlx::Error> {
    SpanId::from_u64(bits.cast_unsigned()).ok_or_else(|| unreadable("a span id is zero"))
}

/// Returns the trace id that is stored as these bytes.
pub(crate) fn trace_id_of(bytes: &[u8]) -> Result<TraceId, sqlx::Error> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| unreadable("a trace id is not 16 bytes long"))?;
    TraceId::from_u128(u128::from_be_bytes(bytes)).ok_or_else(|| unreadable("a trace id is zero"))
}

/// Parses a column of attributes.
pub(crate) fn attributes_of(json: &str) -> Result<Attributes, sqlx::Error> {
    serde_json::from_str(json).map_err(unreadable)
}

/// Returns the arrival as it is stored: as its distance from the event's own time.
pub(super) const fn lag(arrived: Timestamp, time: Timestamp) -> i64 {
    // Wraps where 584 years lie between the two, and wraps back when read.
    arrived.as_nanos().wrapping_sub(time.as_nanos())
}

/// Returns the arrival that is stored as a distance from the event's own time.
pub(super) const fn arrival(time: Timestamp, lag: i64) -> Timestamp {
    Timestamp::from_nanos(time.as_nanos().wrapping_add(lag))
}

/// Returns a time to live as it is stored.
pub(super) fn ttl_seconds(ttl: Ttl) -> i64 {
    i64::try_from(ttl.as_duration().as_secs()).unwrap_or(i64::MAX)
}

/// Returns the time to live that is stored as these seconds.
pub(super) fn ttl_of(seconds: i64) -> Ttl {
    u64::try_from(seconds).ok().and_then(Ttl::from_seconds).unwrap_or_default()
}

/// Returns the error for a column whose content can't be understood.
pub(super) fn unreadable(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here would change the meaning of stored data: it needs a new schema version.
    #[test]
    fn the_order_of_the_words_is_part_of_the_file_format() {
        fn words<T: StoredWord + ToString>() -> Vec<String> {
            T::WORDS.iter().map(ToString::to_string).collect()
        }
        assert_eq!(words::<SpanKind>(), ["internal", "server", "client", "producer", "consumer"]);
        assert_eq!(words::<SpanStatus>(), ["ok", "error"]);
        assert_eq!(words::<SpanState>(), ["open", "ended", "unfinished"]);
        assert_eq!(words::<Severity>(), ["verbose", "debug", "info", "warn", "error", "critical"]);
        assert_eq!(words::<MetricKind>(), ["counter", "up_down_counter", "gauge", "histogram"]);
        assert_eq!(Severity::from_code(Severity::Warn.code()), Some(Severity::Warn));
        assert_eq!(Severity::from_code(-1), None);
    }
}
