//! The arguments of commands that tidy a lake, and the lake that they mean.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::args::LakeArgs;
use crate::{
    app::{SCRATCH_FOLDER, typed_location_of, upkeep_settings},
    cli::output_format::Format,
    config::Config,
    event::{Date, unix_millis},
    sink::lake::{LeftOut, TypedLake, Upkeep, UpkeepSettings},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct UpkeepArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// Change nothing; print what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

impl UpkeepArgs {
    /// The lake, and the configured rules.
    pub(super) fn open(&self) -> anyhow::Result<(Upkeep, UpkeepSettings)> {
        let config = self.place.place.config()?;
        let location = self.place.location_by(&config);
        let upkeep = Upkeep::open(&location, scratch_of(&config))?;
        let upkeep = upkeep.with_context(|| {
            format!("{} is no table, as its log is missing: `lakegate lake adopt` makes it one", location.root)
        })?;
        Ok((upkeep, upkeep_settings(&config.lake)))
    }

    /// The typed tables of the lake, if there are some.
    pub(super) fn open_typed(&self) -> anyhow::Result<Option<TypedLake>> {
        let config = self.place.place.config()?;
        let location = self.place.location_by(&config);
        // A lake without a place for them has none.
        let Some(typed) = typed_location_of(&config.lake, &location).ok().flatten() else { return Ok(None) };
        if !typed.root.contains("://") && !Path::new(&typed.root).is_dir() {
            return Ok(None);
        }
        let Some(mut lake) = TypedLake::open(&location, &typed, scratch_of(&config))? else { return Ok(None) };
        let tables = lake.open_tables()?;
        lake.damaged().iter().for_each(|table| tell_failed(&format!("{}: {}", table.file, table.reason)));
        Ok((tables > 0).then_some(lake))
    }
}

/// The folder for scratch files: beside the gateway's, if this user may write there.
pub(super) fn scratch_of(config: &Config) -> PathBuf {
    if config.data_dir.is_dir() { config.data_dir.join(SCRATCH_FOLDER) } else { std::env::temp_dir() }
}

/// The current day, UTC.
pub(super) fn today() -> Date {
    Date::of_millis(unix_millis(std::time::SystemTime::now()))
}

/// Prints on standard error what could not be done. Returns whether there is nothing.
#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn tell_left_out(left_out: &[LeftOut]) -> bool {
    left_out.iter().for_each(|file| eprintln!("lakegate: left alone {}: {}", file.file, file.reason));
    left_out.is_empty()
}

/// Prints on standard error why a partition failed.
#[allow(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn tell_failed(error: &impl std::fmt::Display) {
    eprintln!("lakegate: {error}");
}
