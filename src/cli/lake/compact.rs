//! `lakegate lake compact`: merges small files into large ones.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::upkeep_args::{UpkeepArgs, tell_failed, tell_left_out};
use crate::{
    cli::{day::day, output_format::Format},
    event::Date,
    sink::lake::{CompactRequest, Compacted, Filters, Pace, StopSignal},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct CompactArgs {
    #[command(flatten)]
    upkeep: UpkeepArgs,
    /// Only this event type, such as menu.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only partitions whose created_date (UTC) is this day or later.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<Date>,
    /// Only partitions whose created_date (UTC) is this day or earlier.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    to: Option<Date>,
    /// Also partitions that still get events and have few files.
    #[arg(long)]
    all: bool,
}

/// Compacts partition by partition. Returns whether everything was done.
pub(super) fn compact(args: &CompactArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let (upkeep, settings) = args.upkeep.open()?;
    let filters =
        Filters { event_type: args.event_type.clone(), event_name: None, from_inclusive: args.from, to_inclusive: args.to };
    let request = CompactRequest { filters, files_max: if args.all { 2 } else { settings.files_max } };
    let (pace, mut done, mut complete) = (Pace::full(StopSignal::default()), Vec::new(), true);
    for partition in upkeep.to_compact(&request)? {
        if args.upkeep.dry_run {
            done.push(upkeep.describe(&partition));
            continue;
        }
        match upkeep.compact(&partition, &request, &pace) {
            Ok(compacted) => done.extend(compacted),
            Err(error) => {
                tell_failed(&error);
                complete = false;
            }
        }
    }
    match args.upkeep.format {
        Format::Json => {
            let partitions: Vec<_> = done.iter().map(|compacted| as_json(compacted, args.upkeep.dry_run)).collect();
            writeln!(out, "{:#}", json!({"dry_run": args.upkeep.dry_run, "partitions": partitions}))?;
        }
        Format::Table => print_table(&done, args.upkeep.dry_run, out)?,
    }
    for compacted in &done {
        complete &= tell_left_out(&compacted.left_out);
    }
    Ok(complete)
}

fn as_json(compacted: &Compacted, is_dry_run: bool) -> serde_json::Value {
    let Compacted { partition, files_before, bytes_before, files_after, bytes_after, rows, doubles, left_out } = compacted;
    let left_out: Vec<_> = left_out.iter().map(|file| json!({"file": file.file, "reason": file.reason})).collect();
    let mut found = json!({
        "event_type": partition.event_type,
        "created_date": partition.created_date,
        "files_before": files_before,
        "bytes_before": bytes_before,
        "rows": rows,
    });
    if !is_dry_run {
        found["files_after"] = json!(files_after);
        found["bytes_after"] = json!(bytes_after);
        found["doubles_dropped"] = json!(doubles);
        found["left_alone"] = json!(left_out);
    }
    found
}

fn print_table(done: &[Compacted], is_dry_run: bool, out: &mut impl Write) -> std::io::Result<()> {
    if is_dry_run {
        writeln!(out, "{:<24} {:<12} {:>6} {:>12} {:>10}", "event_type", "created_date", "files", "bytes", "rows")?;
        for one in done {
            let (event_type, date) = (&one.partition.event_type, &one.partition.created_date);
            writeln!(out, "{event_type:<24} {date:<12} {:>6} {:>12} {:>10}", one.files_before, one.bytes_before, one.rows)?;
        }
        return writeln!(out, "{} partitions would be compacted", done.len());
    }
    writeln!(out, "{:<24} {:<12} {:>13} {:>25} {:>10} {:>8}", "event_type", "created_date", "files", "bytes", "rows", "doubles")?;
    for one in done {
        let (event_type, date) = (&one.partition.event_type, &one.partition.created_date);
        let files = format!("{} > {}", one.files_before, one.files_after);
        let bytes = format!("{} > {}", one.bytes_before, one.bytes_after);
        writeln!(out, "{event_type:<24} {date:<12} {files:>13} {bytes:>25} {:>10} {:>8}", one.rows, one.doubles)?;
    }
    writeln!(out, "{} partitions were compacted", done.len())
}
