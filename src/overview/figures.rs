//! Figures of several gateways together: rates are added, of gauges the sum, the largest or the smallest is taken.

use std::collections::BTreeMap;

use crate::telemetry::{Buckets, Interval};

/// The last interval of each gateway that answered.
pub(crate) struct Figures<'a>(Vec<&'a Interval>);

/// Numbers by the values of some labels.
pub(crate) type By = BTreeMap<Vec<String>, f64>;

impl<'a> Figures<'a> {
    pub(crate) fn of(intervals: impl Iterator<Item = &'a Interval>) -> Self {
        Self(intervals.collect())
    }

    /// The intervals that have a length, with their seconds.
    fn measured(&self) -> impl Iterator<Item = (&'a Interval, f64)> {
        let seconds = self.0.iter().map(|interval| (*interval, interval.elapsed.as_secs_f64()));
        seconds.filter(|(_, seconds)| *seconds > 0.0)
    }

    /// Whether a gateway was polled twice, so that there are rates.
    pub(crate) fn has_rates(&self) -> bool {
        self.measured().next().is_some()
    }

    /// How much of a counter comes in a second; `None` before the second poll.
    pub(crate) fn rate(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.measured().map(|(interval, seconds)| interval.increase(name, labels) / seconds).reduce(|sum, rate| sum + rate)
    }

    /// The rates for each combination of values that the labels have.
    pub(crate) fn rates_by(&self, name: &str, labels: &[&str]) -> By {
        let mut rates = By::new();
        for (interval, seconds) in self.measured() {
            for (values, increase) in interval.increase_by(name, labels) {
                *rates.entry(values).or_default() += increase / seconds;
            }
        }
        rates
    }

    /// The rates of requests by status, without those of probes.
    pub(crate) fn requests_by_status(&self) -> By {
        let mut rates = By::new();
        for (interval, seconds) in self.measured() {
            for (status, count) in interval.requests_by_status() {
                *rates.entry(vec![status]).or_default() += count / seconds;
            }
        }
        rates
    }

    /// The gauges for each combination of values that the labels have; `combine` says what several are together.
    pub(crate) fn gauges_by(&self, name: &str, labels: &[&str], combine: fn(f64, f64) -> f64) -> By {
        let mut gauges = By::new();
        for (values, value) in self.0.iter().flat_map(|interval| interval.gauge_by(name, labels, combine)) {
            gauges.entry(values).and_modify(|other| *other = combine(*other, value)).or_insert(value);
        }
        gauges
    }

    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        self.0.iter().flat_map(|interval| interval.gauges(name)).reduce(|sum, value| sum + value)
    }

    pub(crate) fn largest(&self, name: &str) -> Option<f64> {
        self.0.iter().flat_map(|interval| interval.gauges(name)).reduce(f64::max)
    }

    pub(crate) fn smallest(&self, name: &str) -> Option<f64> {
        self.0.iter().flat_map(|interval| interval.gauges(name)).reduce(f64::min)
    }

    /// The observations of a histogram.
    pub(crate) fn buckets(&self, name: &str) -> Buckets {
        let mut sum = Buckets::default();
        self.0.iter().for_each(|interval| sum.add_all(&interval.buckets(name)));
        sum
    }
}
