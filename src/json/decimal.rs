//! A number as decimal digits: exact where a double is not.

use std::cmp::Ordering;

/// The value of a JSON number: `0.digits` times ten to the `scale`. No digit at either end is zero, and zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    scale: i64,
}

impl Decimal {
    /// Parses a well-formed JSON number. Exponents beyond 64 bits are clamped to the largest.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let is_negative = mantissa.starts_with('-');
        let (whole, fraction) =
            mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { is_negative: false, digits, scale: 0 };
        }
        let largest = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
        let exponent = exponent.trim_start_matches('+').parse::<i64>().unwrap_or(largest).clamp(i64::MIN / 2, i64::MAX / 2);
        Self { is_negative, digits, scale: exponent + whole.len() as i64 - zeros as i64 }
    }

    /// The number of significant digits.
    #[must_use]
    pub fn precision(&self) -> usize {
        self.digits.len()
    }

    /// Whether the number is an integer.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.exponent() >= 0
    }

    /// Compares with `other`, both without their signs.
    #[must_use]
    pub fn cmp_magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.scale.cmp(&other.scale).then_with(|| self.digits.cmp(&other.digits)),
        }
    }

    /// Whether the number is an integer multiple of `step`. The digits of `step` must fit into 64 bits.
    #[must_use]
    pub fn is_multiple_of(&self, step: &Self) -> bool {
        let Some(divisor) =
            step.digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        else {
            return false;
        };
        // The last digit is not zero, so the digits contain no factor of ten.
        let Ok(power) = u64::try_from(self.exponent() - step.exponent()) else { return self.digits.is_empty() };
        if divisor == 0 {
            return false;
        }
        let rest = |number: u128| number % u128::from(divisor);
        let remainder = self.digits.iter().fold(0, |remainder, digit| rest(remainder * 10 + u128::from(digit - b'0')));
        let (mut tens, mut square, mut power) = (rest(1), rest(10), power);
        while power > 0 {
            if power % 2 == 1 {
                tens = rest(tens * square);
            }
            square = rest(square * square);
            power /= 2;
        }
        rest(remainder * tens) == 0
    }

    /// The power of ten of the last digit; for zero the power is 0.
    #[must_use]
    pub fn exponent(&self) -> i64 {
        self.scale - self.digits.len() as i64
    }

    /// The number of digits before the point.
    #[must_use]
    pub fn whole_digits(&self) -> usize {
        usize::try_from(self.scale).unwrap_or(0)
    }

    /// The number times ten to the `scale`; `None` if that is not an integer of 128 bits.
    #[must_use]
    pub fn times_ten_to(&self, scale: u8) -> Option<i128> {
        let zeros = self.exponent().checked_add(i64::from(scale))?;
        if self.digits.is_empty() {
            return Some(0);
        }
        let power = 10_i128.checked_pow(u32::try_from(zeros).ok()?)?;
        let digits =
            self.digits.iter().try_fold(0_i128, |number, digit| number.checked_mul(10)?.checked_add(i128::from(digit - b'0')))?;
        let magnitude = digits.checked_mul(power)?;
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

/// A number of few digits, neither negative nor with an exponent: most numbers in events. Its digits fit into a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortDecimal {
    digits: u64,
    /// How many of the digits are behind the point.
    places: u32,
}

impl ShortDecimal {
    /// Fifteen digits and a point.
    const CHARS_MAX: usize = f64::DIGITS as usize + 1;

    /// Parses a well-formed JSON number; `None` if it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::CHARS_MAX {
            return None;
        }
        let (mut digits, mut places, mut step) = (0, 0, 0);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => (digits, places) = (digits * 10 + u64::from(byte - b'0'), places + step),
                b'.' => step = 1,
                _ => return None,
            }
        }
        (digits < 1 << f64::MANTISSA_DIGITS).then_some(Self { digits, places })
    }

    /// The nearest double: both numbers are exact, so the quotient is rounded once.
    #[must_use]
    pub fn nearest_double(self) -> f64 {
        const POWERS: [f64; ShortDecimal::CHARS_MAX] =
            [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
        self.digits as f64 / POWERS[self.places as usize]
    }

    /// The number times ten to the `scale`, which is -3 to 3, without the digits that are then behind the point.
    #[must_use]
    pub fn times_ten_to(self, scale: i32) -> u64 {
        match scale - self.places as i32 {
            zeros @ 0.. => self.digits * 10_u64.pow(zeros as u32),
            cut => self.digits / 10_u64.pow(cut.unsigned_abs()),
        }
    }
}

/// The double that represents a number in comparisons: the nearest. But if the nearest is a number of few digits and differs
/// from this number, its neighbour on this number's side. So `1e-400` is more than 0, `0.1000000000000000000001` is not 0.1,
/// and a larger number is the largest double. A nearest double of more than 15 digits is kept, because it may be meant.
#[must_use]
pub(super) fn judged_as(text: &str) -> f64 {
    /// Significant digits that every double preserves.
    const DIGITS_KEPT: usize = 15;
    let nearest = text.parse::<f64>().unwrap_or(0.0).clamp(f64::MIN, f64::MAX);
    if text.len() <= DIGITS_KEPT && !text.contains(['e', 'E']) {
        return nearest;
    }
    let shortest = Decimal::parse(&format!("{nearest:e}"));
    if shortest.precision() > DIGITS_KEPT {
        return nearest;
    }
    let further = if text.starts_with('-') { f64::next_down } else { f64::next_up };
    let closer = if text.starts_with('-') { f64::next_up } else { f64::next_down };
    match Decimal::parse(text).cmp_magnitude(&shortest) {
        Ordering::Equal => nearest,
        Ordering::Greater => further(nearest),
        Ordering::Less => closer(nearest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_is_the_double_that_it_would_be_parsed_as() {
        let double = |text: &str| ShortDecimal::parse(text).map(ShortDecimal::nearest_double);
        for text in ["0", "7", "0.1", "0.3", "1795111203.989", "999999999999999", "0.00000000000001", "123456789.012345"] {
            assert_eq!(double(text), text.parse().ok(), "{text}");
        }
        for text in ["-1", "1e3", "1E-3", "9007199254740993", "0.1234567890123456"] {
            assert_eq!(double(text), None, "{text}");
        }
        let thousands = ["1.2345", "1.2", "12", "0.0009"].map(|text| ShortDecimal::parse(text).unwrap().times_ten_to(3));
        assert_eq!(thousands, [1234, 1200, 12_000, 0]);
        assert_eq!(ShortDecimal::parse("1763683200123456").unwrap().times_ten_to(-3), 1_763_683_200_123);
    }

    #[test]
    fn a_number_that_no_double_has_is_judged_on_its_own_side_of_the_nearest() {
        for (text, below, above) in [
            ("1e-400", 0.0, 5e-320),
            ("0.1000000000000000000001", 0.1, 0.11),
            ("0.09999999999999999999999", 0.09, 0.1),
            ("100.00000000000000000001", 100.0, 100.1),
            ("99.99999999999999999999", 99.9, 100.0),
            ("1e400", 1e300, f64::INFINITY),
        ] {
            assert!(below < judged_as(text) && judged_as(text) < above, "{text}: {}", judged_as(text));
            let (text, below, above) = (format!("-{text}"), -above, -below);
            assert!(below < judged_as(&text) && judged_as(&text) < above, "{text}: {}", judged_as(&text));
        }
        for (text, same) in [
            ("0", 0.0),
            ("-0", 0.0),
            ("-0.0e-400", 0.0),
            ("0e400", 0.0),
            ("0.1", 0.1),
            ("0.10000000000000000000", 0.1),
            ("1e-1", 0.1),
            ("100000000000000000000e-21", 0.1),
            ("1E+2", 100.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ] {
            assert_eq!(judged_as(text), same, "{text}");
        }
    }

    #[test]
    fn a_number_is_scaled_exactly_or_not_at_all() {
        let scaled = |text: &str, scale| Decimal::parse(text).times_ten_to(scale);
        for (text, scale, expected) in [
            ("0", 2, Some(0)),
            ("-0.0", 0, Some(0)),
            ("19.99", 2, Some(1_999)),
            ("-19.9", 2, Some(-1_990)),
            ("1e3", 2, Some(100_000)),
            ("1.50e1", 0, Some(15)),
            ("19.995", 2, None),
            ("1e-400", 18, None),
            ("1e400", 0, None),
            ("170141183460469231731687303715884105727", 0, Some(i128::MAX)),
            ("170141183460469231731687303715884105728", 0, None),
        ] {
            assert_eq!(scaled(text, scale), expected, "{text}");
        }
        assert_eq!((Decimal::parse("123.4").whole_digits(), Decimal::parse("0.01").whole_digits()), (3, 0));
    }

    #[test]
    fn whole_numbers_and_multiples_are_told_by_their_digits() {
        let is_whole = |text| Decimal::parse(text).is_whole();
        for text in ["0", "-0.0", "0e-400", "1.0", "10e-1", "1e400", "1e99999999999999999999", "12345678901234567890123.0"] {
            assert!(is_whole(text), "{text}");
        }
        for text in ["0.5", "1e-400", "1e-99999999999999999999", "1.00000000000000000000001", "15e-1"] {
            assert!(!is_whole(text), "{text}");
        }
        let is_multiple = |text, step| Decimal::parse(text).is_multiple_of(&Decimal::parse(step));
        for (text, step) in [
            ("0", "3"),
            ("-0e400", "0.7"),
            ("1e400", "10"),
            ("1e400", "0.01"),
            ("3e400", "3"),
            ("19.99", "0.01"),
            ("0.3", "0.1"),
            ("1070468.14", "0.01"),
            ("123456789012345678901234567890", "10"),
            ("7e-400", "1e-400"),
            ("-50", "2.5e1"),
        ] {
            assert!(is_multiple(text, step), "{text} of {step}");
        }
        for (text, step) in [
            ("1e400", "3"),
            ("1e-400", "1"),
            ("1e-400", "0.1"),
            ("0.30000000000000000001", "0.1"),
            ("19.995", "0.01"),
            ("123456789012345678901234567891", "10"),
            ("25", "50"),
        ] {
            assert!(!is_multiple(text, step), "{text} of {step}");
        }
    }
}
