//! What happened between two scrapes of one gateway: how much its counters grew, and how its gauges stand.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    exposition::{Exposition, Labels, MetricKind, Sample},
    labels::PROBE_ROUTES,
    quantile::Buckets,
};

/// Samples by their name.
type Series = BTreeMap<String, Vec<(Labels, f64)>>;

/// The interval between two scrapes.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Its length; zero after the first scrape, when nothing is known of rates.
    pub elapsed: Duration,
    /// Whether the gateway was started meanwhile.
    pub is_restarted: bool,
    /// How much counters, and the parts of histograms, grew.
    increases: Series,
    gauges: Series,
}

impl Interval {
    /// Of a gateway that was not scraped before: gauges only.
    #[must_use]
    pub fn first(now: &Exposition) -> Self {
        Self { gauges: of_kind(now, |kind| kind == MetricKind::Gauge), ..Self::default() }
    }

    /// Of a process from its start: every counter grew from 0.
    #[must_use]
    pub fn since_start(now: &Exposition, elapsed: Duration) -> Self {
        Self { elapsed, increases: of_kind(now, is_counted), ..Self::first(now) }
    }

    /// Between two scrapes. If the gateway was started between them, its counters began at 0, so the increase is what was counted
    /// since then: never a negative number, and never more than there was.
    #[must_use]
    pub fn between(before: &Exposition, now: &Exposition, elapsed: Duration) -> Self {
        let started = |exposition: &Exposition| exposition.value("process_start_time_seconds");
        let mut interval = Self::since_start(now, elapsed);
        interval.is_restarted = started(before) != started(now);
        if interval.is_restarted {
            return interval;
        }
        let counted = before.families.iter().filter(|family| is_counted(family.kind));
        let of_sample = |sample: &'_ Sample| ((sample.name.clone(), sample.labels.clone()), sample.value);
        let earlier: HashMap<(String, Labels), f64> = counted.flat_map(|family| family.samples.iter().map(of_sample)).collect();
        for (name, samples) in &mut interval.increases {
            for (labels, value) in samples {
                let before = earlier.get(&(name.clone(), labels.clone())).copied().unwrap_or(0.0);
                // A counter that goes back began anew.
                *value = if *value < before { *value } else { *value - before };
            }
        }
        interval
    }

    /// By how much the counters of this name grew together, of those that have `labels`.
    #[must_use]
    pub fn increase(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // The sum of no numbers would be -0.
        matching(&self.increases, name, labels).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// By how much the counters of this name grew, for each combination of values that the labels have.
    #[must_use]
    pub fn increase_by(&self, name: &str, labels: &[&str]) -> BTreeMap<Vec<String>, f64> {
        sums_by(matching(&self.increases, name, &[]), labels, |sum, value| sum + value)
    }

    /// Requests by status, without those of probes.
    #[must_use]
    pub fn requests_by_status(&self) -> BTreeMap<String, f64> {
        let mut statuses = BTreeMap::new();
        for (labels, count) in matching(&self.increases, "lakegate_requests_total", &[]) {
            if value_of(labels, "route").is_none_or(|route| !PROBE_ROUTES.contains(&route)) {
                *statuses.entry(value_of(labels, "status").unwrap_or_default().to_owned()).or_default() += count;
            }
        }
        statuses
    }

    /// The gauges of this name, for each combination of values that the labels have; `combine` says what several are together.
    #[must_use]
    pub fn gauge_by(&self, name: &str, labels: &[&str], combine: fn(f64, f64) -> f64) -> BTreeMap<Vec<String>, f64> {
        sums_by(matching(&self.gauges, name, &[]), labels, combine)
    }

    /// The gauges of this name.
    pub fn gauges(&self, name: &str) -> impl Iterator<Item = f64> {
        matching(&self.gauges, name, &[]).map(|(_, value)| value)
    }

    /// The observations of a histogram, in all its series together.
    #[must_use]
    pub fn buckets(&self, name: &str) -> Buckets {
        let mut buckets = Buckets::default();
        for (labels, count) in matching(&self.increases, &format!("{name}_bucket"), &[]) {
            if let Some(bound) = value_of(labels, "le").and_then(|le| le.parse().ok()) {
                buckets.add(bound, count);
            }
        }
        buckets
    }
}

fn sums_by<'a>(
    samples: impl Iterator<Item = (&'a Labels, f64)>,
    by: &[&str],
    combine: impl Fn(f64, f64) -> f64,
) -> BTreeMap<Vec<String>, f64> {
    let mut sums = BTreeMap::new();
    for (labels, value) in samples {
        let key = by.iter().map(|label| value_of(labels, label).unwrap_or_default().to_owned()).collect();
        sums.entry(key).and_modify(|sum| *sum = combine(*sum, value)).or_insert(value);
    }
    sums
}

fn value_of<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    labels.iter().find(|(label, _)| label == name).map(|(_, value)| &**value)
}

fn is_counted(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Counter | MetricKind::Histogram)
}

fn of_kind(exposition: &Exposition, is_meant: impl Fn(MetricKind) -> bool) -> Series {
    let mut series = Series::new();
    for sample in exposition.families.iter().filter(|family| is_meant(family.kind)).flat_map(|family| &family.samples) {
        series.entry(sample.name.clone()).or_default().push((sample.labels.clone(), sample.value));
    }
    series
}

fn matching<'a>(series: &'a Series, name: &str, wanted: &[(&str, &str)]) -> impl Iterator<Item = (&'a Labels, f64)> {
    let has = |labels: &Labels| wanted.iter().all(|(name, value)| value_of(labels, name) == Some(value));
    series.get(name).into_iter().flatten().filter(move |(labels, _)| has(labels)).map(|(labels, value)| (labels, *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(started: u32, accepted: u32, waiting: u32) -> Exposition {
        let text = format!(
            "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}\n\
             # TYPE e counter\ne_total{{source=\"a\",outcome=\"accepted\"}} {accepted}\ne_total{{source=\"b\",outcome=\"accepted\"}} 7\n\
             # TYPE w gauge\nw {waiting}\n\
             # TYPE h histogram\nh_sum 1\nh_count {accepted}\nh_bucket{{le=\"1.0\"}} {accepted}\nh_bucket{{le=\"+Inf\"}} {accepted}\n# EOF\n"
        );
        Exposition::parse(&text).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn counters_are_differences_and_gauges_are_as_they_stand() {
        let interval = Interval::between(&scrape(100, 10, 5), &scrape(100, 25, 2), SECOND);
        assert_eq!(interval.increase("e_total", &[]), 15.0);
        assert_eq!(interval.increase("e_total", &[("source", "b")]), 0.0);
        let by_source = interval.increase_by("e_total", &["source"]);
        assert_eq!(by_source.into_iter().collect::<Vec<_>>(), [(vec!["a".to_owned()], 15.0), (vec!["b".to_owned()], 0.0)]);
        assert_eq!(interval.increase_by("e_total", &["outcome"])[&vec!["accepted".to_owned()]], 15.0);
        assert_eq!(interval.gauges("w").collect::<Vec<_>>(), [2.0]);
        assert_eq!(interval.gauge_by("w", &[], f64::max)[&vec![]], 2.0);
        assert_eq!(interval.buckets("h").count(), 15.0);
        assert!(!interval.is_restarted);
    }

    #[test]
    fn after_a_restart_counters_begin_at_zero() {
        let interval = Interval::between(&scrape(100, 1_000_000, 5), &scrape(160, 3, 0), SECOND);
        assert!(interval.is_restarted);
        assert_eq!(interval.increase("e_total", &[("source", "a")]), 3.0);
        // Also one that has passed what it was before.
        let interval = Interval::between(&scrape(100, 1, 5), &scrape(160, 3, 0), SECOND);
        assert_eq!(interval.increase("e_total", &[("source", "a")]), 3.0);
        // A counter that goes back without a restart is not negative.
        let interval = Interval::between(&scrape(100, 9, 5), &scrape(100, 4, 0), SECOND);
        assert_eq!(interval.increase("e_total", &[("source", "a")]), 4.0);
    }

    #[test]
    fn the_first_scrape_says_nothing_of_rates() {
        let first = Interval::first(&scrape(100, 10, 5));
        assert_eq!((first.elapsed, first.increase("e_total", &[])), (Duration::ZERO, 0.0));
        assert_eq!(first.gauges("w").count(), 1);
        assert_eq!(Interval::since_start(&scrape(100, 10, 5), SECOND).increase("e_total", &[]), 17.0);
    }
}
