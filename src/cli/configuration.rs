//! Finds the configuration and the data folder of a command.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::notice;
use crate::{
    app::Offline,
    config::{self, Config},
};

/// Where the data folder of a gateway is.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Data folder of the gateway [default: as configured, ./data].
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

impl PlaceArgs {
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        let mut config = load_and_tell(self.config.as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(config)
    }
}

/// Names the configuration file if no option does, so that a container's gateway and its health check read the same file.
const CONFIG_VARIABLE: &str = "LAKEGATE_CONFIG";

/// The configuration file: the one that an option names, else the one that the environment names.
pub(super) fn file(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from))
}

pub(super) fn load(named: Option<&Path>) -> anyhow::Result<Config> {
    Ok(config::load(file(named).as_deref(), std::env::vars())?)
}

/// The same for commands without a log: notices go to standard error.
pub(super) fn load_and_tell(file: Option<&Path>) -> anyhow::Result<Config> {
    let config = load(file)?;
    config.notices.iter().for_each(|text| notice(text));
    Ok(config)
}

/// Opens the data folder for a command that changes data.
pub(super) async fn open_offline(config: &Config) -> anyhow::Result<Offline> {
    let offline = Offline::open(config).await?;
    offline.old_folder.iter().for_each(|text| notice(text));
    Ok(offline)
}
