//! `lakegate lake history`: the versions of the lake's table.

use std::io::Write;

use anyhow::Context;
use clap::{Args, value_parser};
use serde::Serialize;

use super::args::LakeArgs;
use crate::{
    cli::output_format::Format,
    event::iso_millis,
    limits::LAKE_HISTORY_VERSIONS_MAX,
    sink::lake::{Table, Version},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// How many versions, from the newest.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u64).range(1..=LAKE_HISTORY_VERSIONS_MAX))]
    n: u64,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Returns whether there is a version.
pub(super) fn history(args: &HistoryArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let location = args.lake.location()?;
    let table = Table::open(&location)?.with_context(|| format!("{} has no table's log (`_delta_log`)", location.root))?;
    let versions = table.history(args.n)?;
    match args.format {
        Format::Json => {
            let versions: Vec<VersionJson<'_>> = versions.iter().map(VersionJson::of).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&versions)?)?;
        }
        Format::Table => print_table(&versions, out)?,
    }
    Ok(!versions.is_empty())
}

fn print_table(versions: &[Version], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:>8}  {:<24}  {:<17} {:>6} {:>8} {:>9} {:>12}",
        "version", "time", "operation", "added", "removed", "files", "rows"
    )?;
    for version in versions {
        let VersionJson { version, time, operation, added, removed, files, rows } = VersionJson::of(version);
        let (time, operation) = (time.unwrap_or_else(|| "-".into()), operation.unwrap_or("-"));
        writeln!(out, "{version:>8}  {time:<24}  {operation:<17} {added:>6} {removed:>8} {files:>9} {rows:>12}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct VersionJson<'a> {
    version: u64,
    time: Option<String>,
    operation: Option<&'a str>,
    added: u64,
    removed: u64,
    files: u64,
    rows: u64,
}

impl<'a> VersionJson<'a> {
    fn of(version: &'a Version) -> Self {
        Self {
            version: version.version,
            time: version.committed_millis.map(|millis| iso_millis(millis).as_str().to_owned()),
            operation: version.operation.as_deref(),
            added: version.files_added,
            removed: version.files_removed,
            files: version.files,
            rows: version.rows,
        }
    }
}
