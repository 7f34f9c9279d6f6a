//! Asks gateways for their metrics and their readiness, and keeps the last answer of each.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use tokio::{net::lookup_host, task::JoinHandle};

use crate::{
    app::admin_address,
    cli::{failure::in_full, health::reachable},
    limits::TOP_POLL_TIMEOUT,
    overview::{Polled, Watched, ask},
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

async fn poll(target: &Target) -> Result<Polled, String> {
    let address = target.address().await.map_err(|error| in_full(&error))?;
    ask(&address.to_string(), TOP_POLL_TIMEOUT).await
}

/// The gateways that are watched.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    targets: Vec<Target>,
    /// What is known of each, in the same order.
    pub(super) watched: Vec<Watched>,
}

impl Fleet {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        let watched = targets.iter().map(|target| Watched::new(target.label())).collect();
        Self { targets, watched }
    }

    /// Asks all gateways at the same time.
    pub(super) async fn poll(&mut self) {
        let asked = |target: Target| tokio::spawn(async move { poll(&target).await });
        let asked: Vec<JoinHandle<_>> = self.targets.iter().map(|target| asked(target.clone())).collect();
        for ((watched, target), asked) in self.watched.iter_mut().zip(&self.targets).zip(asked) {
            watched.label = target.label();
            watched.take(asked.await.map_err(|error| error.to_string()).flatten());
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
        self.watched.iter().all(|watched| watched.error.is_none())
    }
}
