//! One row of the table: one server under one kind of load, measured in several rounds.

use crate::{
    figures::{median, short},
    gauges::{Memory, Usage},
    under_test::Kind,
    wire::Http,
};

/// One round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// In which of the rounds.
    pub(crate) round: usize,
    /// Events sent and accepted.
    pub(crate) events: u64,
    /// Requests in each second.
    pub(crate) requests_per_second: f64,
    /// Events in each second, until the last answer.
    pub(crate) events_per_second: f64,
    /// Seconds until the last event was delivered too.
    pub(crate) seconds: f64,
    /// What the server used until then.
    pub(crate) usage: Usage,
    /// Groups that the spool synced.
    pub(crate) syncs: f64,
    /// Instructions outside the kernel, where they are counted.
    pub(crate) instructions: Option<f64>,
}

impl Sample {
    /// CPU-seconds for a million events.
    pub(crate) fn cpu(&self) -> f64 {
        self.usage.cpu() * 1e6 / self.events as f64
    }
}

/// Latencies at a fixed rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) http: Http,
    pub(crate) tls: bool,
    /// Events in each request.
    pub(crate) batch: usize,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
    /// One of each round.
    pub(crate) latencies: Vec<Latency>,
    pub(crate) memory: Memory,
    /// Events it took in all, and so identities in its dedup window.
    pub(crate) identities: u64,
    pub(crate) records_per_call: Option<f64>,
    /// Why none of its figures count.
    pub(crate) void: Option<String>,
}

impl Row {
    /// Nothing is measured yet.
    pub(crate) fn new(http: Http, tls: bool, batch: usize, kind: Kind) -> Self {
        Self {
            http,
            tls,
            batch,
            kind,
            samples: Vec::new(),
            latencies: Vec::new(),
            memory: Memory::default(),
            identities: 0,
            records_per_call: None,
            void: None,
        }
    }

    /// A line for whoever waits for the table.
    pub(crate) fn progress(&self) -> String {
        let (rate, cpu) = (self.median(|sample| sample.events_per_second), self.median(Sample::cpu));
        let figures = format!("{} events/s, {} CPU-s/M", short(rate), short(cpu));
        let text = self.void.as_ref().map_or(figures, |reason| format!("VOID: {reason}"));
        format!("{} × {}, {}: {text}", self.wire(), self.batch, self.kind.label())
    }

    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(figure))
    }

    /// The medians of its latencies over the rounds.
    pub(crate) fn latency(&self) -> Latency {
        let median = |figure: fn(&Latency) -> f64| median(self.latencies.iter().map(figure));
        Latency { rate: median(|l| l.rate), p50: median(|l| l.p50), p99: median(|l| l.p99), p999: median(|l| l.p999) }
    }

    /// Of each round the ratio of a figure to the same of another server in that round; of these the median.
    pub(crate) fn ratio(&self, other: &Self, figure: impl Fn(&Sample) -> f64) -> f64 {
        let same_round = |sample: &Sample| other.samples.iter().find(|other| other.round == sample.round).map(&figure);
        median(self.samples.iter().filter_map(|sample| Some(figure(sample) / same_round(sample)?)))
    }

    /// As `h2 + TLS`.
    pub(crate) fn wire(&self) -> String {
        format!("{}{}", self.http, if self.tls { " + TLS" } else { "" })
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Rows(pub(crate) Vec<Row>);

impl Rows {
    /// The row of this server under this load, unless it is void or was not asked for.
    pub(crate) fn find(&self, kind: Kind, http: Http, tls: bool, batch: usize) -> Option<&Row> {
        let is_it = |row: &&Row| (row.kind, row.http, row.tls, row.batch) == (kind, http, tls, batch);
        self.0.iter().find(is_it).filter(|row| row.void.is_none() && !row.samples.is_empty())
    }

    /// The row of another server under the same load as `row`.
    pub(crate) fn beside(&self, row: &Row, kind: Kind) -> Option<&Row> {
        self.find(kind, row.http, row.tls, row.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: usize, cpu: f64) -> Sample {
        let usage = Usage { user: cpu, system: 0.0, written_bytes: 0 };
        Sample {
            round,
            events: 1_000_000,
            requests_per_second: 1.0,
            events_per_second: 1.0,
            seconds: 1.0,
            usage,
            syncs: 0.0,
            instructions: None,
        }
    }

    fn row(kind: Kind, cpu: &[f64]) -> Row {
        let samples = cpu.iter().enumerate().map(|(round, cpu)| sample(round, *cpu)).collect();
        Row { samples, ..Row::new(Http::H1, false, 1, kind) }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was disturbed for both.
        let (gateway, bare) = (row(Kind::Kinesis, &[10.0, 40.0, 11.0]), row(Kind::Bare, &[5.0, 20.0, 5.0]));
        assert_eq!(gateway.ratio(&bare, Sample::cpu), 2.0);
        assert_eq!(gateway.median(Sample::cpu), 11.0);
    }

    #[test]
    fn a_void_row_is_no_reference() {
        let mut bare = row(Kind::Bare, &[5.0]);
        let rows = |bare: &Row| Rows(vec![bare.clone(), row(Kind::Kinesis, &[10.0])]);
        assert!(rows(&bare).find(Kind::Bare, Http::H1, false, 1).is_some());
        bare.void = Some("an answer was wrong".into());
        assert!(rows(&bare).find(Kind::Bare, Http::H1, false, 1).is_none());
    }
}
