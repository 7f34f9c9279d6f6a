//! The registry and the schema that a command reads.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::{
    cli::configuration::load,
    config::Config,
    schema::{self, Registry, Resolution, Schema},
};

/// Which registry.
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    pub(super) schemas: Option<PathBuf>,
    /// Configuration file of the gateway (TOML) [default: the file that LAKEGATE_CONFIG names].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl RegistryArgs {
    pub(super) fn configured(&self) -> anyhow::Result<Config> {
        load(self.config.as_deref())
    }

    pub(super) fn folder(&self) -> anyhow::Result<PathBuf> {
        self.schemas.clone().map_or_else(|| Ok(self.configured()?.schemas.dir), Ok)
    }

    pub(super) fn load(&self) -> anyhow::Result<Registry> {
        Ok(schema::load(&self.folder()?)?)
    }
}

/// The schema that `label` names: `menu:item:viewed`, or `menu:item:viewed/2`.
pub(super) fn find<'a>(registry: &'a Registry, label: &str) -> anyhow::Result<&'a Schema> {
    let (name, version) = parse_label(label)?;
    match registry.resolve(name, version) {
        Resolution::Known(schema) => Ok(schema),
        Resolution::UnknownVersion(newest) => {
            bail!("{name} has no version {}; the newest is {}", version.unwrap_or_default(), newest.version)
        }
        Resolution::UnknownName => match registry.nearest(name) {
            Some(nearest) => bail!("no schema is named {name}; did you mean {nearest}?"),
            None => bail!("no schema is named {name}"),
        },
    }
}

pub(super) fn parse_label(label: &str) -> anyhow::Result<(&str, Option<u32>)> {
    match label.split_once('/') {
        None => Ok((label, None)),
        Some((name, version)) => match version.parse() {
            Ok(number) if number > 0 => Ok((name, Some(number))),
            _ => bail!("{label} is no schema: NAME or NAME/VERSION is expected, such as menu:item:viewed/2"),
        },
    }
}
