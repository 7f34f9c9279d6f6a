//! A JSON value as the type of its column. An error says why the value has no exact place in it.

use std::borrow::Cow;

use jiff::{
    civil::{Date, datetime},
    fmt::temporal::Pieces,
};

use crate::json::{Decimal, Kind, Node};

/// Digits of a number that a double always keeps.
const DOUBLE_DIGITS: usize = 15;

pub(super) fn boolean(value: Node<'_>) -> Result<bool, &'static str> {
    match value.kind() {
        Kind::Boolean => Ok(value.raw() == "true"),
        _ => Err("not a boolean"),
    }
}

pub(super) fn integer(value: Node<'_>) -> Result<i64, &'static str> {
    let text = number_text(value)?;
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let decimal = Decimal::parse(text);
    let whole = if decimal.is_whole() { decimal.times_ten_to(0) } else { return Err("not a whole number") };
    whole.and_then(|whole| i64::try_from(whole).ok()).ok_or("beyond 64 bits")
}

pub(super) fn number(value: Node<'_>) -> Result<f64, &'static str> {
    let text = number_text(value)?;
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if !number.is_finite() {
        return Err("beyond a double");
    }
    // A fraction is rounded to the nearest double, as everywhere. A whole number may be an identity, so it stays exact.
    if text.len() > DOUBLE_DIGITS {
        let decimal = Decimal::parse(text);
        // The shortest digits of the double, or all that it has.
        let is_exact = || [format!("{number:e}"), format!("{number:.0}")].iter().any(|text| decimal == Decimal::parse(text));
        if decimal.is_whole() && !is_exact() {
            return Err("more digits than a double has");
        }
    }
    Ok(number)
}

pub(super) fn decimal(value: Node<'_>, precision: u8, scale: u8) -> Result<i128, &'static str> {
    let decimal = Decimal::parse(number_text(value)?);
    if -decimal.exponent() > i64::from(scale) {
        return Err("more digits after the point than the column has");
    }
    let limit = 10_i128.pow(u32::from(precision));
    decimal.times_ten_to(scale).filter(|number| -limit < *number && *number < limit).ok_or("more digits than the column has")
}

/// Why a time has no place in a column: most engines know these years only.
const OTHER_YEARS: &str = "outside of the years 1 to 9999";

/// Microseconds since 1970. Digits beyond them are cut off, as the docs say.
pub(super) fn timestamp(text: &str) -> Result<i64, &'static str> {
    const NO_TIME: &str = "not a date-time of RFC 3339";
    let bytes = text.as_bytes();
    // jiff reads more forms, and takes second 60 for 59. Its own timestamps end before the year does.
    let is_time = bytes.len() >= "2026-11-28T00:00:00Z".len()
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    if !is_time {
        return Err(NO_TIME);
    }
    if &bytes[17..19] == b"60" {
        return Err("a leap second, which no timestamp has");
    }
    let text = with_nanoseconds(text);
    let pieces = Pieces::parse(text.as_ref()).map_err(|_| NO_TIME)?;
    let (time, offset) = pieces.time().zip(pieces.to_numeric_offset()).ok_or(NO_TIME)?;
    let since = |time: jiff::civil::DateTime| time.duration_since(datetime(1970, 1, 1, 0, 0, 0, 0)).as_nanos().div_euclid(1_000);
    let utc = since(pieces.date().to_datetime(time)) - i128::from(offset.seconds()) * 1_000_000;
    let years = since(datetime(1, 1, 1, 0, 0, 0, 0))..=since(datetime(9999, 12, 31, 23, 59, 59, 999_999_999));
    if years.contains(&utc) { i64::try_from(utc).map_err(|_| OTHER_YEARS) } else { Err(OTHER_YEARS) }
}

/// The text of a time with nine decimals at most, which are as many as jiff reads.
fn with_nanoseconds(text: &str) -> Cow<'_, str> {
    const DECIMALS: usize = 9;
    let Some((whole, rest)) = text.split_once('.') else { return text.into() };
    let decimals = rest.bytes().take_while(u8::is_ascii_digit).count();
    if decimals <= DECIMALS {
        return text.into();
    }
    format!("{whole}.{}{}", &rest[..DECIMALS], &rest[decimals..]).into()
}

/// Days since 1970.
pub(super) fn date(text: &str) -> Result<i32, &'static str> {
    const NO_DATE: &str = "not a date of the form 2026-11-28";
    if text.len() != 10 {
        return Err(NO_DATE);
    }
    let date: Date = text.parse().map_err(|_| NO_DATE)?;
    if date.year() < 1 {
        return Err(OTHER_YEARS);
    }
    let days = date.since(jiff::civil::date(1970, 1, 1)).map_err(|_| NO_DATE)?;
    Ok(days.get_days())
}

fn number_text(value: Node<'_>) -> Result<&str, &'static str> {
    match value.kind() {
        Kind::Number => Ok(value.raw()),
        _ => Err("not a number"),
    }
}
