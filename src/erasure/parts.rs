//! Where events are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    dead_letters::DeadLetters,
    event::{iso_millis, unix_millis},
    sink::lake::LakeConfig,
    spool::Spool,
};

/// Where events are.
pub struct ErasureParts {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The spool of the events.
    pub spool: Arc<Spool>,
    /// The spool of the dead letters, if they have a stream.
    pub dead_letter_spool: Option<Arc<Spool>>,
    /// The dead letters.
    pub dead_letters: Arc<DeadLetters>,
    /// The lakes.
    pub lakes: Vec<ErasureLake>,
    /// The streams that got events or dead letters, for the report: `the Kinesis stream orders`.
    pub streams: Vec<String>,
    /// Whether a gateway runs that may deliver to the lakes at any time.
    pub is_running: bool,
    /// Whether other gateways may have events of the same senders.
    pub is_in_fleet: bool,
}

/// A lake that the gateway delivers to.
#[derive(Clone, Debug)]
pub struct ErasureLake {
    /// Where it is.
    pub location: LakeConfig,
    /// Where its typed tables are, if it can have some.
    pub typed: Option<LakeConfig>,
    /// The folder in which its sink remembers the identities in the names of its files.
    pub memory: PathBuf,
}

impl ErasureLake {
    /// Whether it is a folder of this machine.
    pub(super) fn is_local(&self) -> bool {
        !self.location.root.contains("://")
    }

    /// Whether it is local, and has no folder yet.
    pub(super) fn is_missing(&self) -> bool {
        self.is_local() && !Path::new(&self.location.root).exists()
    }
}

/// The time now, as reports have it.
pub(super) fn now() -> String {
    iso_millis(unix_millis(SystemTime::now())).as_str().to_owned()
}
