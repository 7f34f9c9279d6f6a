//! `lakegate lake build`: builds the typed tables.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{
    args::LakeArgs,
    upkeep_args::{scratch_of, tell_failed, tell_left_out},
};
use crate::{
    app::{typed_location_of, upkeep_settings},
    cli::output_format::Format,
    schema::{self, event_columns},
    sink::lake::{BuildReport, BuildRequest, Pace, StopSignal, TypedLake},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    #[command(flatten)]
    place: LakeArgs,
    /// Folder of the schema registry [default: as configured, ./schemas].
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Only the table of this event name, such as menu:item:viewed; may be repeated.
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Build everything anew, not only what changed.
    #[arg(long)]
    rebuild: bool,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Builds to the end. Returns whether everything was built.
pub(super) fn build(args: &BuildArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let config = args.place.place.config()?;
    let location = args.place.location_by(&config);
    let registry = schema::load(args.schemas.as_ref().unwrap_or(&config.schemas.dir))?;
    let definitions = event_columns(&registry);
    if let Some(unknown) = args.events.iter().find(|name| !definitions.iter().any(|known| known.event_name == **name)) {
        anyhow::bail!("{unknown} has no schema, so it has no columns");
    }
    let adopt = || format!("{} is no table, as its log is missing: `lakegate lake adopt` makes it one", location.root);
    let typed = typed_location_of(&config.lake, &location)?.with_context(adopt)?;
    let mut lake = TypedLake::open(&location, &typed, scratch_of(&config))?.with_context(adopt)?;
    let admits = |name: &str| args.events.is_empty() || args.events.iter().any(|wanted| wanted == name);
    let request = BuildRequest {
        definitions: &definitions,
        admits: &admits,
        rebuild: args.rebuild,
        files_max: upkeep_settings(&config.lake).files_max,
    };
    let report = lake.pass(&request, &Pace::full(StopSignal::default()))?;
    match args.format {
        Format::Json => writeln!(out, "{:#}", as_json(&report, &typed.root))?,
        Format::Table => print_table(&report, &typed.root, out)?,
    }
    report.not_built().for_each(|failed| tell_failed(&format!("{}: {}", failed.file, failed.reason)));
    Ok(tell_left_out(&report.left_out) && report.not_built().next().is_none() && report.overtaken == 0)
}

fn as_json(report: &BuildReport, root: &str) -> serde_json::Value {
    let tables: Vec<_> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "event_name": table.event_name,
                "table": table.table,
                "rows": table.rows,
                "files": table.files,
                "appended_partitions": table.appended,
                "rebuilt_partitions": table.rebuilt,
                "rows_written": table.rows_written,
                "rows_removed": table.rows_removed,
                "unconverted": table.unconverted,
                "seconds": table.time.as_secs_f64(),
            })
        })
        .collect();
    let left_out: Vec<_> = report.left_out.iter().map(|file| json!({"file": file.file, "reason": file.reason})).collect();
    let failed: Vec<_> = report.failed.iter().map(|it| json!({"partition": it.file, "reason": it.reason})).collect();
    let damaged: Vec<_> = report.damaged.iter().map(|it| json!({"table": it.file, "reason": it.reason})).collect();
    json!({
        "root": root,
        "raw_version": report.raw_version,
        "tables": tables,
        "rows_without_table": report.without_table,
        "left_out": left_out,
        "failed": failed,
        "damaged": damaged,
        "overtaken_partitions": report.overtaken,
    })
}

fn print_table(report: &BuildReport, root: &str, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<40} {:>10} {:>6} {:>9} {:>8} {:>10} {:>12} {:>8}",
        "table", "rows", "files", "appended", "rebuilt", "written", "unconverted", "seconds"
    )?;
    for table in &report.tables {
        writeln!(
            out,
            "{:<40} {:>10} {:>6} {:>9} {:>8} {:>10} {:>12} {:>8.2}",
            table.table,
            table.rows,
            table.files,
            table.appended,
            table.rebuilt,
            table.rows_written,
            table.unconverted,
            table.time.as_secs_f64()
        )?;
    }
    writeln!(out, "{} tables in {root} are built up to version {} of the lake", report.tables.len(), report.raw_version)?;
    if report.overtaken > 0 {
        writeln!(out, "{} partitions were changed by another builder at the same time; repeat the command", report.overtaken)?;
    }
    for (name, rows) in &report.without_table {
        writeln!(out, "{rows} rows of {name} have no table, because it has no schema")?;
    }
    Ok(())
}
