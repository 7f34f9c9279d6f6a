//! `created_at` as RFC 3339 text, as the JSON libraries of most languages write a time.
//!
//! Three forms beyond RFC 3339 are read, because they have one meaning only and widespread libraries write them: a space in
//! place of `T` (the RFC allows it in a note; `str(datetime)` of Python), no seconds (`OffsetDateTime.toString` of Java, if they
//! are 0), and any number of decimals. A time without an offset is refused, because it has a different meaning on each machine.

use super::created_at_error::CreatedAtError;
use crate::limits::CREATED_AT_TEXT_BYTES_MAX;

/// The instant of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant<'a> {
    /// Whole Unix seconds.
    pub(super) seconds: u64,
    /// The decimals of the seconds, as written.
    pub(super) decimals: &'a str,
}

/// Parses the text of a time.
pub(super) fn parse(text: &str) -> Result<Instant<'_>, CreatedAtError> {
    if text.len() > CREATED_AT_TEXT_BYTES_MAX {
        return Err(CreatedAtError::NotRfc3339);
    }
    let mut rest = Rest(text);
    let date = rest.date().ok_or_else(|| misread(text))?;
    if rest.0.is_empty() {
        return Err(CreatedAtError::NoTime);
    }
    let time = rest.time().ok_or(CreatedAtError::NotRfc3339)?;
    let offset = rest.offset()?;
    // A leap second belongs to the day that it ends: it is read as the second before it.
    let second = time.second - i8::from(time.second == 60);
    let local = jiff::civil::DateTime::new(date.0, date.1, date.2, time.hour, time.minute, second, 0);
    let local = local.map_err(|_| CreatedAtError::NoSuchTime)?;
    let epoch = jiff::civil::datetime(1970, 1, 1, 0, 0, 0, 0);
    let seconds = local.duration_since(epoch).as_secs() - offset;
    if time.second == 60 && seconds.rem_euclid(SECONDS_PER_DAY) != SECONDS_PER_DAY - 1 {
        return Err(CreatedAtError::NoSuchTime);
    }
    let seconds = u64::try_from(seconds).map_err(|_| CreatedAtError::BeforeEpoch)?;
    Ok(Instant { seconds, decimals: time.decimals })
}

const SECONDS_PER_DAY: i64 = 86_400;

struct Time<'a> {
    hour: i8,
    minute: i8,
    second: i8,
    decimals: &'a str,
}

/// Why a text that does not begin with a date is refused.
fn misread(text: &str) -> CreatedAtError {
    if text.parse::<f64>().is_ok_and(f64::is_finite) { CreatedAtError::NumberAsText } else { CreatedAtError::NotRfc3339 }
}

/// The part of the text that is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Year, month and day.
    fn date(&mut self) -> Option<(i16, i8, i8)> {
        let year = self.digits(4)?.parse().ok()?;
        let month = self.after("-")?.number()?;
        Some((year, month, self.after("-")?.number()?))
    }

    fn time(&mut self) -> Option<Time<'a>> {
        self.0 = self.0.strip_prefix(['T', 't', ' '])?;
        let (hour, minute) = (self.number()?, self.after(":")?.number()?);
        let mut time = Time { hour, minute, second: 0, decimals: "" };
        if self.after(":").is_some() {
            time.second = self.number().filter(|second| *second <= 60)?;
            if self.after(".").is_some() {
                let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
                time.decimals = self.digits(length).filter(|decimals| !decimals.is_empty())?;
            }
        }
        Some(time)
    }

    /// The offset from UTC in seconds.
    fn offset(mut self) -> Result<i64, CreatedAtError> {
        if self.0.is_empty() {
            return Err(CreatedAtError::NoOffset);
        }
        if matches!(self.0, "Z" | "z") {
            return Ok(0);
        }
        if self.0.ends_with(']') {
            return Err(CreatedAtError::ZoneName);
        }
        let sign = if self.0.starts_with('-') { -1 } else { 1 };
        self.0 = self.0.strip_prefix(['+', '-']).ok_or(CreatedAtError::NotRfc3339)?;
        let mut read = || Some((self.number()?, self.after(":")?.number()?));
        let (hours, minutes) = read().ok_or(CreatedAtError::BadOffset)?;
        if !self.0.is_empty() || hours > 23 || minutes > 59 {
            return Err(CreatedAtError::BadOffset);
        }
        Ok(sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
    }

    /// Takes two digits.
    fn number(&mut self) -> Option<i8> {
        self.digits(2)?.parse().ok()
    }

    /// Takes `count` digits.
    fn digits(&mut self, count: usize) -> Option<&'a str> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
    }

    /// Takes `separator`.
    fn after(&mut self, separator: &str) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(separator)?;
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<u64, CreatedAtError> {
        parse(text).map(|instant| instant.seconds)
    }

    #[test]
    fn what_the_libraries_of_each_language_write_is_read() {
        for (text, decimals) in [
            ("2026-11-19T18:00:03Z", ""),
            // Go's time.Time, JavaScript's toISOString, Python's isoformat, .NET's DateTimeOffset and DateTime, Java's Instant.
            ("2026-11-19T18:00:03.123456789Z", "123456789"),
            ("2026-11-19T18:00:03.500Z", "500"),
            ("2026-11-19T18:00:03.123456+00:00", "123456"),
            ("2026-11-19T19:00:03.1234567+01:00", "1234567"),
            ("2026-11-19 18:00:03+00:00", ""),
            ("2026-11-19t18:00:03z", ""),
            ("2026-11-20T08:00:03+14:00", ""),
            ("2026-11-19T06:00:03-12:00", ""),
            ("2026-11-19T23:45:03+05:45", ""),
            ("2026-11-19T18:00:03-00:00", ""),
            ("2026-11-19T18:00:03.0000000000001Z", "0000000000001"),
        ] {
            assert_eq!(parse(text), Ok(Instant { seconds: 1_795_111_203, decimals }), "{text}");
        }
        assert_eq!(seconds("2026-11-19T18:00Z"), Ok(1_795_111_200), "Java's OffsetDateTime, if the seconds are 0");
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(seconds("2000-02-29T23:59:59+00:00"), Ok(951_868_799));
    }

    #[test]
    fn a_leap_second_stays_on_its_day_and_stands_nowhere_else() {
        assert_eq!(seconds("2016-12-31T23:59:60Z"), Ok(1_483_228_799));
        assert_eq!(parse("2017-01-01T00:59:60.25+01:00"), Ok(Instant { seconds: 1_483_228_799, decimals: "25" }));
        for text in ["2016-12-31T23:58:60Z", "2016-12-31T23:59:60+01:00", "2016-12-31T12:00:60Z"] {
            assert_eq!(seconds(text), Err(CreatedAtError::NoSuchTime), "{text}");
        }
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        for (text, error) in [
            ("2026-11-19T18:00:03", CreatedAtError::NoOffset),
            ("2026-11-19T18:00:03.123456", CreatedAtError::NoOffset),
            ("2026-11-19 18:00", CreatedAtError::NoOffset),
            ("2026-11-19", CreatedAtError::NoTime),
            ("2026-11-19T18:00:03+0100", CreatedAtError::BadOffset),
            ("2026-11-19T18:00:03+01", CreatedAtError::BadOffset),
            ("2026-11-19T18:00:03+24:00", CreatedAtError::BadOffset),
            ("2026-11-19T18:00:03+01:60", CreatedAtError::BadOffset),
            ("2026-11-19T18:00:03+01:00x", CreatedAtError::BadOffset),
            ("2026-11-19T19:00:03+01:00[Europe/Berlin]", CreatedAtError::ZoneName),
            ("2026-02-29T18:00:03Z", CreatedAtError::NoSuchTime),
            ("2026-13-01T18:00:03Z", CreatedAtError::NoSuchTime),
            ("2026-11-19T24:00:00Z", CreatedAtError::NoSuchTime),
            ("1969-12-31T23:59:59Z", CreatedAtError::BeforeEpoch),
            ("1970-01-01T00:00:00+00:01", CreatedAtError::BeforeEpoch),
            ("0001-01-01T00:00:00Z", CreatedAtError::BeforeEpoch),
            ("1795111203.5", CreatedAtError::NumberAsText),
            ("1795111203", CreatedAtError::NumberAsText),
            ("", CreatedAtError::NotRfc3339),
            ("now", CreatedAtError::NotRfc3339),
            ("NaN", CreatedAtError::NotRfc3339),
            ("2026-11-19T18:00:61Z", CreatedAtError::NotRfc3339),
            ("2026-11-19T18:00:03.Z", CreatedAtError::NotRfc3339),
            ("2026-11-19T18:00:03,5Z", CreatedAtError::NotRfc3339),
            ("2026-11-19T18:00:03 Z", CreatedAtError::NotRfc3339),
            ("2026-11-19_18:00:03Z", CreatedAtError::NotRfc3339),
            (" 2026-11-19T18:00:03Z", CreatedAtError::NotRfc3339),
            ("2026-11-19T18:00:03Z ", CreatedAtError::NotRfc3339),
            ("+2026-11-19T18:00:03Z", CreatedAtError::NotRfc3339),
            ("２０２６-11-19T18:00:03Z", CreatedAtError::NotRfc3339),
            ("Thu, 19 Nov 2026 18:00:03 GMT", CreatedAtError::NotRfc3339),
        ] {
            assert_eq!(seconds(text), Err(error), "{text}");
        }
        let long = format!("2026-11-19T18:00:03.{}Z", "1".repeat(CREATED_AT_TEXT_BYTES_MAX));
        assert_eq!(seconds(&long), Err(CreatedAtError::NotRfc3339));
    }

    #[test]
    fn years_that_have_no_end_are_no_panic() {
        assert_eq!(seconds("9999-12-31T23:59:59.9999999Z"), Ok(253_402_300_799));
        assert_eq!(seconds("9999-12-31T23:59:59-23:59"), Ok(253_402_387_139));
    }
}
