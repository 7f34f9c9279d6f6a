//! What the console may do and where it sends its reader: from the configuration, and from where the gateway listens.

use std::path::PathBuf;

use serde::Serialize;

use super::polls::Polls;
use crate::config::AdminConfig;

/// Where a first event goes, so that the console can say it.
#[derive(Clone, Debug, Serialize)]
pub struct FirstEvent {
    /// The address that takes events.
    pub url: String,
    /// The certificate to trust, if the gateway made its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Whether `dev` is a key.
    pub takes_dev: bool,
}

/// The part of the gateway that only the console needs.
#[derive(Debug)]
pub struct Console {
    /// Whether a page may replay and drop dead letters.
    pub(super) allow_changes: bool,
    /// Whether live events have their values.
    pub(super) shows_payloads: bool,
    /// The other gateways that are shown, as `http://` with host and port.
    pub(super) fleet: Vec<String>,
    pub(super) first_event: FirstEvent,
    /// The figures of this gateway.
    pub(super) overview: Polls,
    /// The figures of all gateways.
    pub(super) fleet_polls: Polls,
}

impl Console {
    /// The console as configured.
    #[must_use]
    pub fn new(config: &AdminConfig, first_event: FirstEvent) -> Self {
        Self {
            allow_changes: config.allow_changes,
            shows_payloads: config.tail_payloads,
            fleet: config.fleet.clone(),
            first_event,
            overview: Polls::default(),
            fleet_polls: Polls::default(),
        }
    }
}
