//! `created_at`: a Unix timestamp, or RFC 3339 text, as the client wrote it, parsed exactly.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{created_at_error::CreatedAtError, rfc3339};
use crate::{
    json::ShortDecimal,
    limits::{
        CREATED_AT_END, CREATED_AT_MICROS_FROM, CREATED_AT_MILLIS_FROM, CREATED_DATE_DAYS_AHEAD_MAX, CREATED_DATE_DAYS_BACK_MAX,
    },
};

/// When the client says that the event was created.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CreatedAt {
    /// Unix seconds, the nearest double to what the client wrote.
    pub seconds: f64,
    /// Unix milliseconds, truncated (not rounded: 23:59:59.9996 stays on its day).
    pub millis: i64,
}

impl CreatedAt {
    /// Parses the text of a JSON number as seconds, whole or fractional. Larger numbers are read as milli- or microseconds.
    ///
    /// # Errors
    /// See [`CreatedAtError`].
    pub fn parse(number: &str) -> Result<Self, CreatedAtError> {
        let short = ShortDecimal::parse(number);
        let value: f64 = match short {
            Some(short) => short.nearest_double(),
            // Every JSON number is a valid Rust float literal; a number beyond the range of a double parses as infinite.
            None => number.parse().unwrap_or(f64::INFINITY),
        };
        if value < 0.0 {
            return Err(CreatedAtError::Negative);
        }
        let decimals = match value {
            v if v < CREATED_AT_MILLIS_FROM => 3,
            v if v < CREATED_AT_MICROS_FROM => 0,
            v if v < CREATED_AT_END => -3,
            _ => return Err(CreatedAtError::TooLarge),
        };
        let seconds = match decimals {
            3 => value,
            0 => value / 1e3,
            _ => value / 1e6,
        };
        let millis = match short {
            Some(short) => short.times_ten_to(decimals) as i64,
            None => exact_millis(number, decimals).unwrap_or((seconds * 1e3) as i64),
        };
        Ok(Self { seconds, millis })
    }
}

impl CreatedAt {
    /// Parses RFC 3339 text. The result is that of the same time as a number: the text is turned into the digits of that number.
    ///
    /// # Errors
    /// See [`CreatedAtError`].
    pub fn parse_text(text: &str) -> Result<Self, CreatedAtError> {
        let rfc3339::Instant { seconds, decimals } = rfc3339::parse(text)?;
        if seconds as f64 >= CREATED_AT_MILLIS_FROM {
            return Err(CreatedAtError::AfterEnd);
        }
        Self::parse(&format!("{seconds}.{}", if decimals.is_empty() { "0" } else { decimals }))
    }
}

/// Shifts the decimal text by `decimals` places and truncates it, without conversion to a double: `1763683200.123` in
/// milliseconds is `…123`, never `…122`. `None` for the exponent form.
fn exact_millis(number: &str, decimals: i32) -> Option<i64> {
    let bytes = number.as_bytes();
    if memchr::memchr2(b'e', b'E', bytes).is_some() {
        return None;
    }
    let (whole, fraction) = match memchr::memchr(b'.', bytes) {
        Some(dot) => (&number[..dot], &number[dot + 1..]),
        None => (number, ""),
    };
    let whole: i64 = whole.parse().ok()?;
    match decimals {
        3 => {
            let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
            Some(digits.fold(whole, |millis, digit| millis * 10 + i64::from(digit - b'0')))
        }
        0 => Some(whole),
        _ => Some(whole / 1000),
    }
}

/// A calendar day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    /// Days since 1970-01-01.
    pub days: i32,
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil(i64::from(self.days));
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Date {
    /// The day of a time in Unix milliseconds.
    #[must_use]
    pub fn of_millis(unix_millis: i64) -> Self {
        Self { days: i32::try_from(unix_millis.div_euclid(MILLIS_PER_DAY)).unwrap_or(i32::MAX) }
    }
}

/// How many days the `created_at` of an event may differ from its receipt. An event beyond that is *late*: its partition is
/// the day of its receipt. Whole days (UTC) count, so the day of a late event's receipt is never the day that it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedDays {
    /// Days before the day of receipt.
    pub back: u16,
    /// Days after the day of receipt.
    pub ahead: u16,
}

impl CreatedDays {
    /// The widest range. It applies to every record, whatever the setting of a key.
    pub const WIDEST: Self = Self { back: CREATED_DATE_DAYS_BACK_MAX, ahead: CREATED_DATE_DAYS_AHEAD_MAX };

    /// When an event received at `received_millis` may have been created without being late; all in Unix milliseconds.
    #[must_use]
    pub fn around(self, received_millis: i64) -> RangeInclusive<i64> {
        let today = received_millis.div_euclid(MILLIS_PER_DAY);
        let first_day = today.saturating_sub(self.back.into());
        let day_after = today.saturating_add(i64::from(self.ahead) + 1);
        first_day.saturating_mul(MILLIS_PER_DAY)..=day_after.saturating_mul(MILLIS_PER_DAY) - 1
    }
}

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A time in ISO 8601, UTC, milliseconds: `2026-11-20T09:15:02.123Z`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IsoMillis([u8; 24]);

impl IsoMillis {
    /// The text, as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// `unix_millis` in ISO 8601. Called twice for every event, so the date is computed once per day.
#[must_use]
pub fn iso_millis(unix_millis: i64) -> IsoMillis {
    thread_local! {
        static DAY: std::cell::Cell<(i64, [u8; 10])> = const { std::cell::Cell::new((i64::MIN, [0; 10])) };
    }
    let day = unix_millis.div_euclid(MILLIS_PER_DAY);
    let (mut known, mut date) = DAY.get();
    if known != day {
        let text = Date { days: day.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32 }.to_string();
        // The date has ten characters up to the year 9999, and `civil` clamps later days.
        date.copy_from_slice(&text.as_bytes()[..10]);
        known = day;
        DAY.set((known, date));
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[..10].copy_from_slice(&date);
    let mut rest = unix_millis.rem_euclid(MILLIS_PER_DAY) as u32;
    for (places, unit) in [(11..13, 3_600_000), (14..16, 60_000), (17..19, 1_000), (20..23, 1)] {
        let mut number = rest / unit;
        rest %= unit;
        for place in places.rev() {
            text[place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    IsoMillis(text)
}

/// Unix milliseconds of `time`; 0 before 1970.
#[must_use]
pub fn unix_millis(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Unix milliseconds of a time with an offset, such as [`iso_millis`] writes.
#[must_use]
pub fn millis_of_iso(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn civil(days_since_epoch: i64) -> (i16, i8, i8) {
    let epoch = jiff::civil::date(1970, 1, 1);
    // Within range for every day that `CreatedAt` allows (year 5138 at most).
    let date = epoch.saturating_add(jiff::Span::new().days(days_since_epoch.clamp(-719_162, 2_932_896)));
    (date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(number: &str) -> Result<i64, CreatedAtError> {
        CreatedAt::parse(number).map(|created_at| created_at.millis)
    }

    #[test]
    fn seconds_milliseconds_and_microseconds_are_told_apart_by_size() {
        assert_eq!(millis("1763683200"), Ok(1_763_683_200_000));
        assert_eq!(millis("1763683200.123"), Ok(1_763_683_200_123));
        assert_eq!(millis("1763683200123"), Ok(1_763_683_200_123));
        assert_eq!(millis("1763683200123456"), Ok(1_763_683_200_123));
        assert_eq!(millis("1763683200123456789"), Err(CreatedAtError::TooLarge));
        assert_eq!(CreatedAt::parse("1763683200123").unwrap().seconds, 1_763_683_200.123);
    }

    #[test]
    fn a_fraction_is_truncated_and_never_passes_through_a_double() {
        assert_eq!(millis("0.0019999"), Ok(1));
        assert_eq!(millis("1763683199.9996"), Ok(1_763_683_199_999));
        assert_eq!(millis("4102444800.001"), Ok(4_102_444_800_001));
        assert_eq!(millis("1.7636832e9"), Ok(1_763_683_200_000));
        assert_eq!(millis("1E3"), Ok(1_000_000));
        assert_eq!(millis("0"), Ok(0));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        assert_eq!(millis("-1"), Err(CreatedAtError::Negative));
        assert_eq!(millis("1e400"), Err(CreatedAtError::TooLarge));
        assert_eq!(millis("99999999999999999999999999"), Err(CreatedAtError::TooLarge));
    }

    #[test]
    fn a_text_is_the_same_time_as_its_number() {
        for (text, number) in [
            ("2025-11-21T00:00:00Z", "1763683200"),
            ("2025-11-21T01:00:00.123+01:00", "1763683200.123"),
            ("2025-11-20T23:59:59.9996Z", "1763683199.9996"),
            ("2025-11-21T00:00:00.123456789Z", "1763683200.123456789"),
            ("1970-01-01T00:00:00.0019999Z", "0.0019999"),
            ("5138-11-16T09:46:39.999Z", "99999999999.999"),
        ] {
            assert_eq!(CreatedAt::parse_text(text), CreatedAt::parse(number), "{text}");
        }
        assert_eq!(CreatedAt::parse_text("5138-11-16T09:46:40Z"), Err(CreatedAtError::AfterEnd));
        assert_eq!(CreatedAt::parse_text("9999-12-31T23:59:59.9999999Z"), Err(CreatedAtError::AfterEnd));
        assert_eq!(CreatedAt::parse_text("9999-12-31T23:59:59-23:59"), Err(CreatedAtError::AfterEnd));
    }

    #[test]
    fn iso_has_always_three_decimals_and_a_z() {
        assert_eq!(iso_millis(0).as_str(), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_millis(1_763_683_200_007).as_str(), "2025-11-21T00:00:00.007Z");
        assert_eq!(iso_millis(951_826_154_999).as_str(), "2000-02-29T12:09:14.999Z");
        assert_eq!(iso_millis(951_868_799_999).as_str(), "2000-02-29T23:59:59.999Z");
        assert_eq!(iso_millis(951_868_800_000).as_str(), "2000-03-01T00:00:00.000Z");
        assert_eq!(iso_millis(i64::MAX).as_str().len(), 24);
    }

    #[test]
    fn whole_days_around_the_receipt_count_whatever_the_hour() {
        let day = MILLIS_PER_DAY;
        for received in [20_000 * day, 20_000 * day + 5, 20_001 * day - 1] {
            let range = CreatedDays { back: 4, ahead: 1 }.around(received);
            assert_eq!(range, 19_996 * day..=20_002 * day - 1);
            let widest = CreatedDays::WIDEST.around(received);
            assert!(widest.contains(&(received - 366 * day)) && widest.contains(&(received + 2 * day)));
            for far in [received - 367 * day, received + 3 * day, 0, 12_345_000, 9_783_072_000_000] {
                assert!(!widest.contains(&far), "{far}");
            }
        }
        assert_eq!(CreatedDays { back: 0, ahead: 0 }.around(5), 0..=day - 1);
        assert!(!CreatedDays::WIDEST.around(i64::MAX).contains(&0) && !CreatedDays::WIDEST.around(i64::MIN).contains(&0));
        assert_eq!(Date::of_millis(20_413 * day + 1).to_string(), "2025-11-21");
    }
}
