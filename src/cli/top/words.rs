//! Numbers as people read them: four digits at most, with a unit.

use crate::telemetry::Quantile;

/// What stands for a number that is not known.
pub(super) const UNKNOWN: &str = "–";

fn known(number: Option<f64>, words: impl Fn(f64) -> String) -> String {
    number.filter(|number| number.is_finite()).map_or_else(|| UNKNOWN.to_owned(), words)
}

/// A count, or a rate: `0.25`, `12`, `3.4k`, `12M`.
pub(super) fn count(number: Option<f64>) -> String {
    known(number, |number| scaled(number, 1000.0, &["", "k", "M", "G", "T"]))
}

/// `512 B`, `4.5 MiB`.
pub(super) fn bytes(number: Option<f64>) -> String {
    known(number, |number| scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]))
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, 0);
    // Also a number that would be rounded up to the next unit.
    while number.abs() >= step - 0.5 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = if number == number.trunc() || number.abs() >= 99.95 {
        0
    } else if number.abs() >= 0.95 {
        1
    } else {
        2
    };
    let text = format!("{number:.digits$}");
    // A rate that is not zero does not look like zero.
    let text = if number > 0.0 && number < 0.005 { "<0.01".to_owned() } else { text };
    format!("{text}{}", units[unit])
}

/// A short time: `250 µs`, `1.2 ms`, `3.4 s`.
fn short(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        ..0.000_999_5 => format!("{:.0} µs", seconds * 1e6),
        ..0.009_995 => format!("{:.1} ms", seconds * 1e3),
        ..0.999_5 => format!("{:.0} ms", seconds * 1e3),
        ..99.5 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A quantile, with what is known of it: `≤ 250 µs`, `1.2 ms`, `> 16.4 s`.
pub(super) fn quantile(quantile: Option<Quantile>) -> String {
    match quantile {
        None => UNKNOWN.to_owned(),
        Some(Quantile::AtMost(seconds)) => format!("≤ {}", short(seconds)),
        Some(Quantile::About(seconds)) => short(seconds),
        Some(Quantile::MoreThan(seconds)) => format!("> {}", short(seconds)),
    }
}

/// A time: `0.4 s`, `59 s`, `3 min`, `2 h 05 min`, `3 d 4 h`.
pub(super) fn time(seconds: Option<f64>) -> String {
    known(seconds, |seconds| {
        let (whole, minutes) = (seconds.round() as u64, (seconds / 60.0) as u64);
        match whole {
            _ if seconds < 9.95 => format!("{seconds:.1} s"),
            0..120 => format!("{whole} s"),
            120..7_200 => format!("{minutes} min"),
            7_200..172_800 => format!("{} h {:02} min", minutes / 60, minutes % 60),
            _ => format!("{} d {} h", minutes / 1_440, minutes / 60 % 24),
        }
    })
}

/// A part as a percentage.
pub(super) fn percent(share: Option<f64>) -> String {
    known(share, |share| match share * 100.0 {
        0.0 => "0 %".to_owned(),
        ..0.1 => "<0.1 %".to_owned(),
        percent @ ..9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_a_unit() {
        let counts = [0.0, 0.001, 0.25, 1.0, 9.96, 12.34, 999.4, 999.6, 12_345.0, 1e6, 3.2e10];
        let said = counts.map(|number| count(Some(number)));
        assert_eq!(said, ["0", "<0.01", "0.25", "1", "10.0", "12.3", "999", "1.0k", "12.3k", "1M", "32G"]);
        assert_eq!([0.0, 512.0, 1536.0, 5e9].map(|number| bytes(Some(number))), ["0 B", "512 B", "1.5 KiB", "4.7 GiB"]);
        assert_eq!([None, Some(f64::NAN), Some(f64::INFINITY)].map(count), [UNKNOWN; 3]);
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let times = [0.0, 0.43, 59.6, 121.0, 7_500.0, 280_000.0].map(|seconds| time(Some(seconds)));
        assert_eq!(times, ["0.0 s", "0.4 s", "60 s", "2 min", "2 h 05 min", "3 d 5 h"]);
        let quantiles =
            [Quantile::AtMost(0.000_25), Quantile::About(0.001_234), Quantile::About(0.25), Quantile::MoreThan(16.384)];
        assert_eq!(quantiles.map(|found| quantile(Some(found))), ["≤ 250 µs", "1.2 ms", "250 ms", "> 16.4 s"]);
        assert_eq!(quantile(None), UNKNOWN);
        assert_eq!([0.0, 0.000_1, 0.05, 0.5, 1.0].map(|share| percent(Some(share))), ["0 %", "<0.1 %", "5.0 %", "50 %", "100 %"]);
    }
}
