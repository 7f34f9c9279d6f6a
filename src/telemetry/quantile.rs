//! Quantiles of a histogram, by linear interpolation within a bucket, as Prometheus computes them.

/// Observations by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds with the number of observations up to each, ascending.
    cumulative: Vec<(f64, f64)>,
}

/// What a histogram says of a quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// It is in the first bucket.
    AtMost(f64),
    /// Interpolated.
    About(f64),
    /// It is above the last bound.
    MoreThan(f64),
}

impl Quantile {
    /// The number, whatever it says of the quantile.
    #[must_use]
    pub fn value(self) -> f64 {
        let (Self::AtMost(value) | Self::About(value) | Self::MoreThan(value)) = self;
        value
    }
}

impl Buckets {
    /// Adds `count` observations up to `bound`, to those that are there.
    pub fn add(&mut self, bound: f64, count: f64) {
        match self.cumulative.binary_search_by(|(other, _)| other.total_cmp(&bound)) {
            Ok(at) => self.cumulative[at].1 += count,
            Err(at) => self.cumulative.insert(at, (bound, count)),
        }
    }

    /// Adds the observations of a histogram with the same bounds.
    pub fn add_all(&mut self, other: &Self) {
        other.cumulative.iter().for_each(|(bound, count)| self.add(*bound, *count));
    }

    /// The number of observations.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.cumulative.last().map_or(0.0, |(_, count)| *count)
    }

    /// The value below which the part `q` of the observations is; `None` without observations.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let count = self.count();
        if count <= 0.0 {
            return None;
        }
        let rank = q * count;
        let at = self.cumulative.iter().position(|(_, below)| *below >= rank)?;
        let (bound, below) = self.cumulative[at];
        let Some(&(lower, lower_count)) = at.checked_sub(1).and_then(|at| self.cumulative.get(at)) else {
            return Some(if bound.is_finite() { Quantile::AtMost(bound) } else { Quantile::MoreThan(0.0) });
        };
        if !bound.is_finite() {
            return Some(Quantile::MoreThan(lower));
        }
        Some(Quantile::About(lower + (bound - lower) * (rank - lower_count) / (below - lower_count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Buckets {
        let mut buckets = Buckets::default();
        counts.iter().for_each(|(bound, count)| buckets.add(*bound, *count));
        buckets
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket() {
        let buckets = buckets(&[(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (f64::INFINITY, 100.0)]);
        assert_eq!(buckets.quantile(0.5), Some(Quantile::AtMost(1.0)));
        assert_eq!(buckets.quantile(0.7), Some(Quantile::About(1.5)));
        assert_eq!(buckets.quantile(0.9), Some(Quantile::About(2.0)));
        assert_eq!(buckets.quantile(0.99), Some(Quantile::About(3.8)));
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets(&[(1.0, 0.0), (f64::INFINITY, 0.0)]).quantile(0.99), None);
        let beyond = buckets(&[(1.0, 1.0), (2.0, 1.0), (f64::INFINITY, 10.0)]);
        assert_eq!(beyond.quantile(0.99), Some(Quantile::MoreThan(2.0)));
    }

    #[test]
    fn histograms_are_added_bucket_by_bucket() {
        let mut sum = buckets(&[(1.0, 10.0), (f64::INFINITY, 10.0)]);
        sum.add_all(&buckets(&[(1.0, 0.0), (f64::INFINITY, 30.0)]));
        assert_eq!((sum.count(), sum.quantile(0.5)), (40.0, Some(Quantile::MoreThan(1.0))));
    }
}
