//! Reads the text of `/metrics` (OpenMetrics) back into numbers.
//!
//! `lakegate top` reads a running gateway this way. The exports of metrics ([`MetricsExport`](super::MetricsExport),
//! [`Emf`](super::Emf)) read the gateway's own text, so that every way shows the same numbers and nothing is counted twice.

use thiserror::Error;

/// Labels of a sample, in the order of the text.
pub type Labels = Vec<(String, String)>;

/// All metrics of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// The metrics, in the order of the text.
    pub families: Vec<MetricFamily>,
}

/// A metric with all its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// Its name, without the suffixes of its samples such as `_total`.
    pub name: String,
    /// What it is.
    pub help: String,
    /// Its type.
    pub kind: MetricKind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
    /// Facts as labels.
    Info,
    /// Anything else.
    Other,
}

/// A line of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The whole name, such as `lakegate_events_total`.
    pub name: String,
    /// The labels.
    pub labels: Labels,
    /// The number.
    pub value: f64,
    /// The same number exactly, if the text has no fraction.
    pub integer: Option<i64>,
}

/// Why a text is no exposition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line} of the metrics: {reason}")]
pub struct ExpositionError {
    line: usize,
    reason: &'static str,
}

impl Exposition {
    /// Reads the text of `/metrics`.
    ///
    /// # Errors
    /// If a line is no sample, or if the end is missing.
    pub fn parse(text: &str) -> Result<Self, ExpositionError> {
        let mut exposition = Self::default();
        let mut has_ended = false;
        for (index, line) in text.lines().enumerate() {
            let wrong = |reason| ExpositionError { line: index + 1, reason };
            if has_ended {
                return Err(wrong("there is more after # EOF"));
            }
            match line.strip_prefix("# ") {
                Some("EOF") => has_ended = true,
                Some(comment) => exposition.describe(comment),
                None => exposition.add(sample(line).map_err(wrong)?),
            }
        }
        if has_ended {
            Ok(exposition)
        } else {
            Err(ExpositionError { line: text.lines().count() + 1, reason: "there is no # EOF" })
        }
    }

    fn describe(&mut self, comment: &str) {
        let mut words = comment.splitn(3, ' ');
        let (Some(what), Some(name)) = (words.next(), words.next()) else { return };
        let rest = words.next().unwrap_or_default();
        match what {
            "HELP" => self.family(name).help = unescaped(rest),
            "TYPE" => {
                self.family(name).kind = match rest {
                    "counter" => MetricKind::Counter,
                    "gauge" => MetricKind::Gauge,
                    "histogram" => MetricKind::Histogram,
                    "info" => MetricKind::Info,
                    _ => MetricKind::Other,
                }
            }
            _ => {}
        }
    }

    /// The last family, if it has this name; otherwise a new one.
    fn family(&mut self, name: &str) -> &mut MetricFamily {
        if self.families.last().is_none_or(|family| family.name != name) {
            let (name, help) = (name.to_owned(), String::new());
            self.families.push(MetricFamily { name, help, kind: MetricKind::Other, samples: Vec::new() });
        }
        let last = self.families.len() - 1;
        &mut self.families[last]
    }

    fn add(&mut self, sample: Sample) {
        match self.families.last_mut() {
            Some(family) if family.has(&sample.name) => family.samples.push(sample),
            _ => self.family(&sample.name.clone()).samples.push(sample),
        }
    }

    /// The samples with this whole name.
    pub fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        let families = self.families.iter().filter(move |family| family.has(name));
        families.flat_map(|family| &family.samples).filter(move |sample| sample.name == name)
    }

    /// The first sample with this whole name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples(name).next().map(|sample| sample.value)
    }
}

impl MetricFamily {
    /// Whether a sample of this name belongs to it.
    fn has(&self, sample: &str) -> bool {
        let suffix = sample.strip_prefix(&*self.name);
        suffix.is_some_and(|suffix| matches!(suffix, "" | "_total" | "_info" | "_bucket" | "_count" | "_sum" | "_created"))
    }
}

impl Sample {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| &**value)
    }
}

fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(['{', ' ']).ok_or("a name and a number are expected")?;
    let (name, rest) = line.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("this is no name of a metric");
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    // A time, or an exemplar, may follow.
    let number = rest.strip_prefix(' ').and_then(|rest| rest.split(' ').next()).ok_or("a number is expected")?;
    let value = number.parse().map_err(|_| "a number is expected")?;
    Ok(Sample { name: name.to_owned(), labels, value, integer: number.parse().ok() })
}

/// The labels after `{`, and the rest after `}`.
fn labels(text: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label is expected")?;
        let end = end_of_value(after).ok_or("a label has no end")?;
        labels.push((name.to_owned(), unescaped(&after[..end])));
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// Where the closing quote is.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::{AcceptedEvents, Metrics, SecretInForce};

    #[test]
    fn the_gateways_own_exposition_is_read_with_every_line() {
        let metrics = Metrics::new();
        let hostile: Arc<str> = "we\"b\\,}\n{x=\"1\"} 7".into();
        metrics.count_outcomes(&hostile, &AcceptedEvents::default(), [crate::outcome::Outcome::Accepted].iter());
        metrics.secrets.replace(vec![SecretInForce {
            key: hostile.clone(),
            secret: "0a".into(),
            not_after: None,
            usage: Arc::default(),
        }]);
        metrics.delivery.of("lake").seconds.observe(0.3);
        metrics.spool_headroom_seconds.set(f64::INFINITY);
        metrics.count_request("/v1/events", 202);
        let text = metrics.exposition();
        let read = Exposition::parse(&text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(read.families.iter().map(|family| family.samples.len()).sum::<usize>(), lines);
        assert!(read.families.iter().all(|family| family.kind != MetricKind::Other && !family.help.is_empty()));
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(read.families.len(), types);
        let accepted: Vec<_> = read.samples("lakegate_events_total").collect();
        assert_eq!((accepted.len(), accepted[0].label("source"), accepted[0].integer), (1, Some(&*hostile), Some(1)));
        assert_eq!(read.value("lakegate_spool_headroom_seconds"), Some(f64::INFINITY));
        assert_eq!(read.samples("lakegate_delivery_seconds_bucket").last().unwrap().label("le"), Some("+Inf"));
        assert_eq!(read.value("lakegate_delivery_seconds_sum"), Some(0.3));
        assert_eq!(read.samples("lakegate_build_info").next().unwrap().label("version"), Some(env!("CARGO_PKG_VERSION")));
        assert!(read.value("process_cpu_seconds_total").is_some_and(|seconds| seconds >= 0.0));
    }

    #[test]
    fn times_and_exemplars_are_passed_over() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 3 1700000000 # {t=\"1\"} 1\na_total 0.5\n# EOF\n";
        let read = Exposition::parse(text).unwrap();
        let values: Vec<_> = read.samples("a_total").map(|sample| (sample.value, sample.integer)).collect();
        assert_eq!(values, [(3.0, Some(3)), (0.5, None)]);
    }

    #[test]
    fn a_text_that_is_none_is_refused_with_its_line() {
        let refused = |text: &str| Exposition::parse(text).unwrap_err().to_string();
        assert_eq!(refused("<html>"), "line 1 of the metrics: a name and a number are expected");
        assert_eq!(refused("a 1\n{x} 1"), "line 2 of the metrics: this is no name of a metric");
        assert_eq!(refused("a{x=\"1} 1"), "line 1 of the metrics: a label has no end");
        assert_eq!(refused("a{x} 1"), "line 1 of the metrics: a label is expected");
        assert_eq!(refused("a one"), "line 1 of the metrics: a number is expected");
        assert_eq!(refused("a 1\n"), "line 2 of the metrics: there is no # EOF");
        assert_eq!(refused("# EOF\na 1"), "line 2 of the metrics: there is more after # EOF");
    }
}
