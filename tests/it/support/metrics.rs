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

    /// A sample without labels; counters without their `_total`.
    pub fn value(&self, name: &str) -> i64 {
        let sample =
            self.samples.get(&format!("lakegate_{name}_total")).or_else(|| self.samples.get(&format!("lakegate_{name}")));
        *sample.unwrap_or_else(|| panic!("no metric lakegate_{name}")) as i64
    }

    /// A sample without labels, with its fraction.
    pub fn number(&self, name: &str) -> f64 {
        *self.samples.get(&format!("lakegate_{name}")).unwrap_or_else(|| panic!("no metric lakegate_{name}"))
    }

    /// The samples of a metric by their labels, such as `shard="…"`.
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
        let value = |name| self.value(name);
        assert_eq!(
            value("spool_appended_events") + value("spool_recovered_events"),
            value("delivered_events") + value("refused_events") + value("spool_lost_events") + value("spool_events"),
            "appended + recovered = delivered + refused + lost + spooled: {self:?}"
        );
        assert_eq!(value("panics"), 0, "{self:?}");
    }
}
