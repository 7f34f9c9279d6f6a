//! Asks gateways for their metrics and their readiness, and keeps the last answer of each.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::{net::lookup_host, task::JoinHandle, time::timeout};

use crate::{
    app::admin_address,
    cli::{admin_client, failure::in_full, health::reachable},
    limits::TOP_POLL_TIMEOUT,
    telemetry::{Exposition, Interval},
};

/// Where a gateway is.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// At an address, or a name, with a port.
    Named(String),
    /// The one that runs on this data folder. Looked up at each poll, because its port may change with a restart.
    OfFolder {
        /// The folder.
        data_dir: PathBuf,
        /// Where it listens for operators, if the folder does not tell.
        configured: SocketAddr,
    },
}

impl Target {
    async fn address(&self) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Named(name) => {
                let mut addresses = lookup_host(name).await.with_context(|| format!("{name} is not known"))?;
                addresses.next().with_context(|| format!("{name} has no address"))
            }
            Self::OfFolder { data_dir, configured } => {
                let address = admin_address(data_dir).unwrap_or(*configured);
                if address.port() == 0 {
                    bail!("no gateway has noted its address in {}; name one with --gateway", data_dir.display());
                }
                Ok(reachable(address))
            }
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::OfFolder { data_dir, configured } => admin_address(data_dir).unwrap_or(*configured).to_string(),
        }
    }
}

/// A reason of `/readyz`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) blocks: bool,
    #[serde(default)]
    pub(super) place: String,
    pub(super) detail: String,
}

/// What `/readyz` says, as far as it is not in the metrics.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) reasons: Vec<Reason>,
}

/// The answer of a gateway.
#[derive(Clone, Debug)]
pub(super) struct Polled {
    pub(super) at: Instant,
    pub(super) exposition: Exposition,
    pub(super) readiness: Readiness,
}

async fn ask(target: &Target) -> anyhow::Result<Polled> {
    let asked = async {
        let address = target.address().await?;
        let (_, readiness) = admin_client::get_any(address, "/readyz").await?;
        let readiness = serde_json::from_slice(&readiness)
            .with_context(|| format!("{address} is no gateway's listener for operators: its /readyz is not understood"))?;
        let exposition = Exposition::parse(&admin_client::get(address, "/metrics").await?)?;
        Ok(Polled { at: Instant::now(), exposition, readiness })
    };
    match timeout(TOP_POLL_TIMEOUT, asked).await {
        Ok(polled) => polled,
        Err(_) => bail!("{} did not answer within {} s", target.label(), TOP_POLL_TIMEOUT.as_secs()),
    }
}

/// A gateway that is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    target: Target,
    /// Its address, for people.
    pub(super) label: String,
    /// Its last answer.
    pub(super) last: Option<Polled>,
    /// What happened between its last two answers, if the last poll was answered.
    pub(super) interval: Option<Interval>,
    /// Why the last poll was not answered, if so.
    pub(super) error: Option<String>,
}

impl Watched {
    pub(super) fn new(target: Target) -> Self {
        Self { label: target.label(), target, last: None, interval: None, error: None }
    }

    pub(super) fn take(&mut self, answer: anyhow::Result<Polled>) {
        self.label = self.target.label();
        match answer {
            Ok(polled) => {
                self.interval = Some(match &self.last {
                    Some(last) => Interval::between(&last.exposition, &polled.exposition, polled.at - last.at),
                    None => Interval::first(&polled.exposition),
                });
                (self.last, self.error) = (Some(polled), None);
            }
            // The last answer stays: what happens until the next one is counted from there.
            Err(error) => (self.interval, self.error) = (None, Some(in_full(&error))),
        }
    }
}

/// The gateways that are watched.
#[derive(Clone, Debug)]
pub(super) struct Fleet(pub(super) Vec<Watched>);

impl Fleet {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self(targets.into_iter().map(Watched::new).collect())
    }

    /// Asks all gateways at the same time.
    pub(super) async fn poll(&mut self) {
        let asked = |target: Target| tokio::spawn(async move { ask(&target).await });
        let asked: Vec<JoinHandle<_>> = self.0.iter().map(|watched| asked(watched.target.clone())).collect();
        for (watched, asked) in self.0.iter_mut().zip(asked) {
            watched.take(asked.await.map_err(anyhow::Error::from).flatten());
        }
    }

    /// Polls again and again, `interval` from the start of one poll to the next, until `tell` says that nobody listens.
    pub(super) async fn watch(mut self, interval: Duration, tell: impl Fn(&Self) -> bool) {
        let mut turn = tokio::time::interval(interval);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            self.poll().await;
            if !tell(&self) {
                return;
            }
        }
    }

    /// Whether all answered the last poll.
    pub(super) fn have_all_answered(&self) -> bool {
        self.0.iter().all(|watched| watched.error.is_none())
    }
}
