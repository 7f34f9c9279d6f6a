//! The gateways that a question is for: the one of a data folder, or those that are named.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    configuration::PlaceArgs,
    dead_letters::{AdminArgs, Place, place},
};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct GatewayArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// A gateway of a fleet, by its address for operators (127.0.0.1:9090, http://localhost:9090). Can be repeated. It answers
    /// programs on its own machine: forward its port (`ssh -L`, `kubectl port-forward`).
    #[arg(long = "gateway", value_name = "URL")]
    gateways: Vec<String>,
}

/// Who answers.
pub(super) enum Asked {
    /// These gateways.
    Running(Vec<SocketAddr>),
    /// This process, with the data folder of a gateway that does not run.
    Offline(Box<Config>),
}

impl GatewayArgs {
    /// Finds out who answers.
    pub(super) fn asked(&self) -> anyhow::Result<Asked> {
        if !self.gateways.is_empty() {
            return self.gateways.iter().map(|gateway| address(gateway)).collect::<anyhow::Result<_>>().map(Asked::Running);
        }
        let config = self.place.config()?;
        match place(&config, &self.admin)? {
            Place::Running(address) => Ok(Asked::Running(vec![address])),
            Place::Offline => Ok(Asked::Offline(Box::new(config))),
            Place::Nowhere => bail!("{}: there is no such data folder", config.data_dir.display()),
        }
    }
}

fn address(gateway: &str) -> anyhow::Result<SocketAddr> {
    let host = gateway.strip_prefix("http://").unwrap_or(gateway).trim_end_matches('/');
    let found =
        host.to_socket_addrs().with_context(|| format!("{gateway}: a host and a port are expected, such as 127.0.0.1:9090"))?;
    // Gateways listen on the first address more often than on IPv6.
    let addresses: Vec<SocketAddr> = found.collect();
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().with_context(|| format!("{gateway}: no such host"))
}
