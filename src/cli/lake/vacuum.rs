//! `lakegate lake vacuum`: removes files that the table does not have any more, and old files of its log.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::upkeep_args::UpkeepArgs;
use crate::{
    cli::output_format::Format,
    sink::lake::{Pace, StopSignal, VacuumRequest},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct VacuumArgs {
    #[command(flatten)]
    upkeep: UpkeepArgs,
    /// Minutes for which a file stays after the table removed it [default: as configured, 15].
    #[arg(long, value_name = "MINUTES")]
    grace_minutes: Option<u32>,
    /// Also remove files of other writers that the log does not know, if they are a day old.
    ///
    /// Their events may be nowhere else. `lakegate lake adopt` takes them into the table instead.
    #[arg(long)]
    unknown: bool,
}

/// Removes files. Returns whether no unknown file stays.
pub(super) fn vacuum(args: &VacuumArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let (upkeep, settings) = args.upkeep.open()?;
    let dry_run = args.upkeep.dry_run;
    let grace_millis = args.grace_minutes.map_or(settings.vacuum_grace_millis, |minutes| i64::from(minutes) * 60_000);
    let pace = Pace::full(StopSignal::default());
    let files = upkeep.vacuum(VacuumRequest { grace_millis, list_folders: true, unknown: args.unknown, dry_run }, &pace)?;
    let log = upkeep.clean_log(settings.log_retention_millis, dry_run, &pace)?;
    let typed = match args.upkeep.open_typed()?.filter(|_| !dry_run) {
        Some(typed) => {
            typed.clean_logs(settings.log_retention_millis, &pace)?;
            typed.vacuum(grace_millis, true, &pace)?
        }
        None => 0,
    };
    match args.upkeep.format {
        Format::Json => {
            let found = json!({
                "dry_run": dry_run,
                "removed_files": files.removed_files,
                "leftovers": files.leftovers,
                "bytes": files.bytes,
                "files": files.paths,
                "unknown_files": files.unknown_files,
                "unknown": files.unknown,
                "typed_tables": {"removed_files": typed},
                "log": {"commits": log.commits, "checkpoints": log.checkpoints, "bytes": log.bytes},
            });
            writeln!(out, "{found:#}")?;
        }
        Format::Table => {
            let said = if dry_run { "would be removed" } else { "were removed" };
            for path in &files.paths {
                writeln!(out, "{path}")?;
            }
            writeln!(
                out,
                "{} files that left the table and {} leftovers {said}, {} bytes",
                files.removed_files, files.leftovers, files.bytes
            )?;
            writeln!(out, "{} commits and {} checkpoints of the log {said}, {} bytes", log.commits, log.checkpoints, log.bytes)?;
            if typed > 0 {
                writeln!(out, "{typed} files of the typed tables {said}")?;
            }
            if files.unknown_files > 0 {
                writeln!(out, "{} files stay that the log does not know: `lakegate lake adopt` takes them", files.unknown_files)?;
                files.unknown.iter().try_for_each(|path| writeln!(out, "  {path}"))?;
            }
        }
    }
    Ok(files.unknown_files == 0)
}
