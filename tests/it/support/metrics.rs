//! `/metrics`, scraped and added up.

use std::{collections::BTreeMap, time::Duration};

use super::{client::get_plain, gateway::Gateway};

/// One scrape: every sample by its name with labels.
#[derive(Clone, Debug)]
pub struct Scrape {
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Scrapes the operators' listener.
    pub async fn of(gateway: &Gateway) -> Self {
        let answer = get_plain(gateway.admin(), "/metrics").await.expect("metrics are answered");
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    /// Scrapes until nothing is in flight and all that is spooled is delivered.
    pub async fn when_drained(gateway: &Gateway) -> Self {
        Self::when_drained_within(gateway, Duration::from_secs(60)).await
    }

    /// The same for a backlog that takes its time.
    pub async fn when_drained_within(gateway: &Gateway, limit: Duration) -> Self {
        let is_drained = |scrape: &Self| scrape.is_quiet() && scrape.value("spool_events") == 0;
        Self::when_within("nothing is in flight and all is delivered", gateway, limit, is_drained).await
    }

    /// Scrapes until `condition` holds.
    pub async fn when(what: &str, gateway: &Gateway, condition: impl Fn(&Self) -> bool) -> Self {
        Self::when_within(what, gateway, Duration::from_secs(60), condition).await
    }

    async fn when_within(what: &str, gateway: &Gateway, limit: Duration, condition: impl Fn(&Self) -> bool) -> Self {
        let mut last = Self::of(gateway).await;
        super::eventually(what, limit, async || {
            last = Self::of(gateway).await;
            condition(&last)
        })
        .await;
        last
    }

    /// No request is being handled.
    pub fn is_quiet(&self) -> bool {
        self.value("bodies_in_flight_bytes") == 0
    }

    /// A sample without labels, or the sum over the sinks; counters without their `_total`.
    pub fn value(&self, name: &str) -> i64 {
        self.number(name) as i64
    }

    /// The same with its fraction.
    pub fn number(&self, name: &str) -> f64 {
        let names = [format!("lakegate_{name}_total"), format!("lakegate_{name}")];
        if let Some(sample) = names.iter().find_map(|name| self.samples.get(name)) {
            return *sample;
        }
        let of_sinks = self.labelled(name).into_iter().filter(|(labels, _)| labels.starts_with("sink=") && !labels.contains(','));
        of_sinks.map(|(_, value)| value).reduce(|sum, value| sum + value).unwrap_or_else(|| panic!("no metric lakegate_{name}"))
    }

    /// A sample of one sink; counters without their `_total`.
    pub fn of_sink(&self, sink: &str, name: &str) -> i64 {
        let label = format!("sink=\"{sink}\"");
        *self.labelled(name).get(&*label).unwrap_or_else(|| panic!("no metric lakegate_{name} of {sink}")) as i64
    }

    /// The samples of a metric by their labels, such as `source="…"`.
    pub fn labelled(&self, name: &str) -> BTreeMap<&str, f64> {
        let start = format!("lakegate_{name}");
        let labels = |sample: &'_ str| -> Option<(usize, usize)> {
            let rest = sample.strip_prefix(&start)?;
            let rest = rest.strip_prefix("_total").unwrap_or(rest).strip_prefix('{')?;
            Some((sample.len() - rest.len(), sample.len() - 1))
        };
        self.samples.iter().filter_map(|(sample, value)| labels(sample).map(|(from, to)| (&sample[from..to], *value))).collect()
    }

    /// The sum of a counter's samples whose labels hold `label`, such as `outcome="accepted"`.
    pub fn sum(&self, name: &str, label: &str) -> i64 {
        let prefix = format!("lakegate_{name}_total");
        let matching = self.samples.iter().filter(|(sample, _)| sample.starts_with(&prefix) && sample.contains(label));
        matching.map(|(_, value)| *value as i64).sum()
    }

    /// Events by outcome: accepted, duplicate, rejected, retry.
    pub fn outcomes(&self) -> [i64; 4] {
        ["accepted", "duplicate", "rejected", "retry"].map(|outcome| self.sum("events", &format!("outcome=\"{outcome}\"")))
    }

    /// Panics unless the ledger of promise P2 adds up.
    pub fn assert_ledger(&self) {
        let outcomes = self.outcomes();
        assert_eq!(self.value("events_received"), outcomes.iter().sum::<i64>(), "received = Σ outcomes: {self:?}");
        assert_eq!(outcomes[2], self.sum("rejected_events", ""), "rejected = Σ codes: {self:?}");
        assert_eq!(outcomes[3], self.sum("retry_events", ""), "retry = Σ codes: {self:?}");
        for sink in self.sinks() {
            let value = |name| self.of_sink(&sink, name);
            assert_eq!(
                self.value("spool_appended_events") + value("sink_recovered_events"),
                value("delivered_events")
                    + value("refused_events")
                    + value("spool_lost_events")
                    + value("dropped_events")
                    + value("skipped_events")
                    + value("erased_events")
                    + value("sink_lag_events"),
                "appended + recovered = delivered + refused + lost + dropped + skipped + erased + spooled, for {sink}: {self:?}"
            );
        }
        assert_eq!(self.value("panics"), 0, "{self:?}");
    }

    /// The names of the sinks.
    pub fn sinks(&self) -> Vec<String> {
        let name = |labels: &str| labels.strip_prefix("sink=\"")?.strip_suffix('"').map(str::to_owned);
        self.labelled("sink_up").into_keys().filter_map(name).collect()
    }
}
