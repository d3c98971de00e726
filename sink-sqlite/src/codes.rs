//! How words are stored: as their place in the list of all words. The places are part of the file format.

use telemetry_core::{MetricKind, Severity, SpanKind, SpanState, SpanStatus};

/// A word that is stored as a small number.
pub(crate) trait Code: Copy + PartialEq + 'static {
    /// Every word, in the order of the file format.
    const WORDS: &'static [Self];

    /// The number that stands for the word.
    fn code(self) -> i64 {
        let place = Self::WORDS.iter().position(|word| *word == self);
        i64::try_from(place.unwrap_or(0)).unwrap_or(0)
    }

    /// The word that the number stands for.
    fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|place| Self::WORDS.get(place)).copied()
    }
}

macro_rules! codes {
    ($($word:ty),+) => {$( impl Code for $word { const WORDS: &'static [Self] = Self::ALL; } )+};
}

codes!(SpanKind, SpanStatus, SpanState, Severity, MetricKind);

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here would give stored data another meaning: it needs a new schema version.
    #[test]
    fn the_order_of_the_words_is_part_of_the_file_format() {
        fn words<T: Code + ToString>() -> Vec<String> {
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
