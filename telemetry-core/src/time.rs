//! Points in time, and how long stores keep what arrived.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: signed nanoseconds since 1970-01-01T00:00:00Z, from 1677-09-21 to 2262-04-11.
///
/// Parsed from RFC 3339 (any offset, `Z`, a space for `T`; no zone means UTC) or from a number (see
/// [`Timestamp::from_number`]). Written as RFC 3339 in UTC with `Z`. The fraction has no, 6 or 9
/// digits: the fewest that are exact.
///
/// ```
/// use telemetry_core::Timestamp;
///
/// let time: Timestamp = "2025-08-29 14:34:56.789012+02:00".parse()?;
/// assert_eq!(time.to_string(), "2025-08-29T12:34:56.789012Z");
/// assert_eq!(Timestamp::from_nanos(0).to_string(), "1970-01-01T00:00:00Z");
/// # Ok::<(), telemetry_core::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text or a number is not a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Not RFC 3339.
    #[error("`{value}` is not an RFC 3339 timestamp")]
    Syntax {
        /// The text, cut at 64 characters.
        value: String,
    },
    /// Before 1677-09-21 or after 2262-04-11.
    #[error("`{value}` is outside 1677-09-21 to 2262-04-11")]
    OutOfRange {
        /// The text or number, cut at 64 characters.
        value: String,
    },
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// Numbers of a greater magnitude are milliseconds: read as seconds, they lie after the year 2603.
const MILLISECONDS_FROM: f64 = 2e10;

impl Timestamp {
    /// Returns the time that is `nanos` nanoseconds after the Unix epoch; negative values lie before it.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Returns the time of the wall clock, clamped to the range of the type.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Converts a number: Unix seconds with a fraction, or milliseconds if the magnitude exceeds 2e10.
    ///
    /// # Errors
    ///
    /// Returns [`TimestampError::OutOfRange`] for a time outside the range of the type, NaN and infinities.
    ///
    /// ```
    /// use telemetry_core::Timestamp;
    ///
    /// let seconds = Timestamp::from_number(1_703_123_456.789)?;
    /// assert_eq!(seconds.to_string(), "2023-12-21T01:50:56.789000Z");
    /// assert_eq!(Timestamp::from_number(1_703_123_456_789.0)?, seconds);
    /// # Ok::<(), telemetry_core::TimestampError>(())
    /// ```
    #[expect(clippy::cast_possible_truncation, reason = "checked: finite, and i128 holds the product")]
    pub fn from_number(number: f64) -> Result<Self, TimestampError> {
        let out_of_range = || TimestampError::OutOfRange { value: number.to_string() };
        if !number.is_finite() || number.abs() > 1e15 {
            return Err(out_of_range());
        }
        let seconds = if number.abs() > MILLISECONDS_FROM { number / 1e3 } else { number };
        // A double near today's seconds resolves about 0.2 µs, so further digits are noise.
        let whole = seconds.floor();
        let micros = ((seconds - whole) * 1e6).round() as i128;
        let nanos = whole as i128 * NANOS_PER_SECOND + micros * 1_000;
        i64::try_from(nanos).map(Self).map_err(|_| out_of_range())
    }

    /// Converts a whole number of seconds, or of milliseconds if the magnitude exceeds 2e10, exactly.
    ///
    /// # Errors
    ///
    /// Returns [`TimestampError::OutOfRange`] for a time outside the range of the type.
    pub fn from_integer(number: i64) -> Result<Self, TimestampError> {
        let scale = if number.unsigned_abs() > 20_000_000_000 { 1_000_000 } else { NANOS_PER_SECOND };
        i64::try_from(i128::from(number) * scale)
            .map(Self)
            .map_err(|_| TimestampError::OutOfRange { value: number.to_string() })
    }

    /// Returns this time plus `duration`, at most the end of the range.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Returns the duration from `earlier` to this time; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Returns the date and time of day in UTC, and the nanoseconds within the second.
    fn civil(self) -> (civil::DateTime, u32) {
        let seconds = self.0.div_euclid(1_000_000_000);
        let nanos = self.0.rem_euclid(1_000_000_000);
        let time =
            jiff::Timestamp::from_second(seconds).expect("an i64 of nanoseconds lies within jiff's years");
        let nanos = u32::try_from(nanos).expect("less than a second");
        (jiff::tz::Offset::UTC.to_datetime(time), nanos)
    }

    /// Returns the time of day in UTC as `HH:MM:SS.mmm`.
    pub fn to_clock_text(self) -> String {
        let (time, nanos) = self.civil();
        format!("{:02}:{:02}:{:02}.{:03}", time.hour(), time.minute(), time.second(), nanos / 1_000_000)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let excerpt = || text.chars().take(64).collect::<String>();
        let syntax = || TimestampError::Syntax { value: excerpt() };
        // jiff also parses calendar forms and zone names that RFC 3339 does not have.
        if text.len() < 19 || !text.is_ascii() || text.contains('[') || text.as_bytes()[4] != b'-' {
            return Err(syntax());
        }
        let nanos = match text.parse::<jiff::Timestamp>() {
            Ok(time) => time.as_nanosecond(),
            Err(_) => {
                let civil = text.parse::<civil::DateTime>().map_err(|_| syntax())?;
                let time = jiff::tz::Offset::UTC
                    .to_timestamp(civil)
                    .map_err(|_| TimestampError::OutOfRange { value: excerpt() })?;
                time.as_nanosecond()
            }
        };
        i64::try_from(nanos).map(Self).map_err(|_| TimestampError::OutOfRange { value: excerpt() })
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Self(nanos)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, nanos) = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        )?;
        match nanos {
            0 => f.write_str("Z"),
            _ if nanos % 1_000 == 0 => write!(f, ".{:06}Z", nanos / 1_000),
            _ => write!(f, ".{nanos:09}Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How long stores keep something, counted from its arrival: 1 s to 136 years, 7 days by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ttl(NonZeroU32);

impl Ttl {
    /// Returns a time to live of `seconds`, at most 136 years; `None` for zero.
    ///
    /// ```
    /// use telemetry_core::Ttl;
    /// assert_eq!(Ttl::from_seconds(60).unwrap().as_duration().as_secs(), 60);
    /// assert_eq!(Ttl::from_seconds(0), None);
    /// assert_eq!(Ttl::default().as_duration().as_secs(), 604_800);
    /// ```
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX)).map(Self)
    }

    /// Returns the time to live as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }
}

impl Default for Ttl {
    fn default() -> Self {
        const { Self(NonZeroU32::new(7 * 24 * 60 * 60).expect("not zero")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn no_zone_means_utc() {
        assert_eq!(read("2025-08-29T12:00:00"), read("2025-08-29T12:00:00Z"));
        assert_eq!(read("2025-08-29 12:00:00.5"), read("2025-08-29T14:00:00.500+02:00"));
    }

    #[test]
    fn nanoseconds_survive_the_round_trip() {
        assert_eq!(read("2025-08-29T12:00:00.123456789Z").to_string(), "2025-08-29T12:00:00.123456789Z");
        assert_eq!(read("1969-12-31T23:59:59.999999999Z").as_nanos(), -1);
        for nanos in [i64::MIN, i64::MAX, -1, 0, 1] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(read(&time.to_string()), time);
        }
    }

    #[test]
    fn invalid_texts_are_errors() {
        let wrong = [
            "",
            "now",
            "2025-08-29",
            "12:00:00",
            "2025-13-01T00:00:00Z",
            "2025-08-29T12:00:00[UTC]",
            "9999-01-01T00:00:00Z",
            "1600-01-01T00:00:00Z",
        ];
        for text in wrong {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        }
        assert!(Timestamp::from_number(f64::NAN).is_err());
        assert!(Timestamp::from_integer(i64::MAX).is_err());
    }

    #[test]
    fn a_long_ttl_saturates() {
        assert_eq!(Ttl::from_seconds(u64::MAX).unwrap().as_duration().as_secs(), u64::from(u32::MAX));
    }
}
