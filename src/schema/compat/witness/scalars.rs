//! Generates strings and numbers.

use std::rc::Rc;

use jsonschema::canonical::{IntegerView, NumberView, StringView};
use serde_json::{Number, Value, json};

use super::{
    super::patterns::{Found, Language, Wanted, find},
    ValueGenerator,
};
use crate::limits::COMPAT_STRING_CHARS_MAX;

/// Strings for the formats that the library knows.
const FORMATS: &[(&str, &[&str])] = &[
    ("date", &["2026-11-20", "2000-01-01"]),
    ("date-time", &["2026-11-20T18:00:00Z", "2026-11-20T18:00:00.5+01:00"]),
    ("duration", &["PT1H", "P1D"]),
    ("email", &["someone@example.com"]),
    ("hostname", &["example.com", "localhost"]),
    ("idn-email", &["someone@example.com", "joão@example.com"]),
    ("idn-hostname", &["example.com", "exämple.com"]),
    ("ipv4", &["192.0.2.1"]),
    ("ipv6", &["2001:db8::1", "::1"]),
    ("iri", &["https://example.com/é"]),
    ("iri-reference", &["/é"]),
    ("json-pointer", &["/a/0", ""]),
    ("regex", &["^a$"]),
    ("relative-json-pointer", &["0", "1/a"]),
    ("time", &["18:00:00Z"]),
    ("uri", &["https://example.com/a", "urn:a:b"]),
    ("uri-reference", &["/a", "https://example.com/a"]),
    ("uri-template", &["/a/{b}"]),
    ("uuid", &["01a1f4f7-32ac-7e07-ad70-d39f77ca4499", "c3d4e5f6-0718-4d52-a1b2-0190b0a17c3e"]),
];

impl ValueGenerator<'_> {
    pub(super) fn strings(&mut self, view: &StringView) -> Vec<Value> {
        let bound = |number: Option<&Number>, otherwise| {
            number.map_or(otherwise, |number| number.as_u64().map_or(usize::MAX, |n| n as usize))
        };
        let least = bound(view.min_length.as_ref(), 0);
        let most = bound(view.max_length.as_ref(), usize::MAX);
        if least > COMPAT_STRING_CHARS_MAX {
            return Vec::new();
        }
        let known = FORMATS.iter().filter(|(format, _)| view.formats.iter().any(|wanted| wanted == format));
        let mut values: Vec<Value> = known.flat_map(|(_, strings)| *strings).map(|string| json!(string)).collect();
        let longest = if most > COMPAT_STRING_CHARS_MAX { least.saturating_add(40) } else { most };
        let lengths = [least.max(1), least, least.saturating_add(1), longest];
        if view.patterns.is_empty() && view.excluded_patterns.is_empty() {
            for length in lengths.into_iter().filter(|&length| (least..=most).contains(&length)) {
                values.push("x".repeat(length).into());
            }
            values.extend(["0", "é", "A b", "x1", "xyz"].map(Value::from));
            values.extend(FORMATS.iter().flat_map(|(_, strings)| *strings).map(|string| json!(string)));
            return values;
        }
        let languages = |maker: &mut Self, patterns: &[String]| -> Vec<Rc<Language>> {
            patterns.iter().filter_map(|pattern| maker.patterns.language(pattern)).collect()
        };
        let (matching, not_matching) = (languages(self, &view.patterns), languages(self, &view.excluded_patterns));
        let matching: Vec<&Language> = matching.iter().map(|language| &**language).collect();
        let not_matching: Vec<&Language> = not_matching.iter().map(|language| &**language).collect();
        for length in lengths.into_iter().filter(|&length| length <= most) {
            // The longest string is often at a bound of the pattern itself, which only a search by length finds.
            let wanted = Wanted { matching: &matching, not_matching: &not_matching, chars_min: length, chars_max: most };
            match find(&wanted) {
                Found::String(string) => values.push(string.into()),
                Found::Nothing | Found::TooMuch => {}
            }
        }
        // Strings of other formats may match all the same.
        values.extend(FORMATS.iter().flat_map(|(_, strings)| *strings).map(|string| json!(string)));
        values.extend(["x", "A", "0", ""].map(Value::from));
        values
    }

    pub(super) fn integers(&mut self, view: &IntegerView) -> Vec<Value> {
        let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        let least = view.minimum.as_ref().map(|number| whole(number).unwrap_or(i64::MIN.into()));
        let most = view.maximum.as_ref().map(|number| whole(number).unwrap_or(u64::MAX.into()));
        let step = view.multiple_of.iter().filter_map(whole).filter(|&step| step > 0).fold(1, least_common_multiple);
        let from = least.unwrap_or_else(|| most.unwrap_or(0).min(0));
        let first = from.div_euclid(step) * step;
        let mut numbers: Vec<i128> = (0..6).map(|index| first + index * step).collect();
        if let Some(most) = most {
            numbers.extend((0..3).map(|index| (most.div_euclid(step) - index) * step));
        }
        numbers.extend([0, step, -step, 10 * step]);
        let (low, high) = (least.unwrap_or(-1_000_000), most.unwrap_or(1_000_000));
        for _ in 0..self.random_values {
            if let (Ok(low), Ok(high)) = (i64::try_from(low), i64::try_from(high))
                && low <= high
            {
                numbers.push(i128::from(self.random.i64(low..=high)).div_euclid(step) * step);
            }
        }
        let fits = |&number: &i128| least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most);
        numbers.into_iter().filter(fits).filter_map(integer).collect()
    }

    pub(super) fn numbers(&mut self, view: &NumberView) -> Vec<Value> {
        let bound = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
        let (least, most) = (bound(&view.minimum), bound(&view.maximum));
        let step = view.multiple_of.iter().filter_map(Number::as_f64).fold(0.0, f64::max);
        let mut numbers: Vec<Value> = [&view.minimum, &view.maximum].into_iter().flatten().map(|n| json!(n)).collect();
        let mut add = |number: f64| {
            let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
            numbers.push(if is_whole { json!(number as i64) } else { json!(number) });
        };
        for start in [least, most, Some(0.0)].into_iter().flatten() {
            for offset in [0.0, 0.5, 0.25, 0.01, 0.001, 1.0, 2.0, 10.0, 1e6] {
                add(start + offset);
                add(start - offset);
            }
            if step > 0.0 {
                for index in -6..=6 {
                    add((start / step).floor() * step + f64::from(index) * step);
                }
            }
        }
        if let (Some(least), Some(most)) = (least, most) {
            add(f64::midpoint(least, most));
        }
        let (low, high) = (least.unwrap_or(-1e6), most.unwrap_or(1e6));
        for _ in 0..self.random_values {
            add(low + self.random.f64() * (high - low));
            add((low + self.random.f64() * (high - low)).round());
        }
        numbers
    }
}

fn integer(number: i128) -> Option<Value> {
    let signed = i64::try_from(number).ok().map(Value::from);
    signed.or_else(|| u64::try_from(number).ok().map(Value::from))
}

fn least_common_multiple(a: i128, b: i128) -> i128 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b).unwrap_or(a)
}
