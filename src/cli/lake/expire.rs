//! `lakegate lake expire`: removes events that are older than `[lake.retention]` allows.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::upkeep_args::{UpkeepArgs, tell_failed, tell_left_out, today};
use crate::{
    cli::output_format::Format,
    sink::lake::{Expired, Pace, StopSignal},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExpireArgs {
    #[command(flatten)]
    upkeep: UpkeepArgs,
}

/// Expires partition by partition. Returns whether everything was done.
pub(super) fn expire(args: &ExpireArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let (upkeep, settings) = args.upkeep.open()?;
    let (retention, dry_run) = (&settings.retention, args.upkeep.dry_run);
    let (today, pace, mut done, mut complete) = (today(), Pace::full(StopSignal::default()), Vec::new(), true);
    for partition in upkeep.to_expire(retention, today)? {
        match upkeep.expire(&partition, retention, today, dry_run, &pace) {
            Ok(expired) => done.extend(expired),
            Err(error) => {
                tell_failed(&error);
                complete = false;
            }
        }
    }
    match args.upkeep.format {
        Format::Json => {
            let partitions: Vec<_> = done.iter().map(as_json).collect();
            writeln!(out, "{:#}", json!({"dry_run": dry_run, "partitions": partitions}))?;
        }
        Format::Table => print_table(&done, dry_run, retention.is_empty(), out)?,
    }
    for expired in &done {
        complete &= tell_left_out(&expired.left_out);
    }
    Ok(complete)
}

fn as_json(expired: &Expired) -> serde_json::Value {
    let left_out: Vec<_> = expired.left_out.iter().map(|file| json!({"file": file.file, "reason": file.reason})).collect();
    json!({
        "event_type": expired.partition.event_type,
        "created_date": expired.partition.created_date,
        "event_names": expired.event_names,
        "files_removed": expired.files_removed,
        "files_rewritten": expired.files_rewritten,
        "rows": expired.rows,
        "left_alone": left_out,
    })
}

fn print_table(done: &[Expired], is_dry_run: bool, keeps_all: bool, out: &mut impl Write) -> std::io::Result<()> {
    if keeps_all {
        return writeln!(out, "[lake.retention] has no patterns: all events are kept");
    }
    writeln!(out, "{:<24} {:<12} {:>7} {:>9} {:>10}  events", "event_type", "created_date", "removed", "rewritten", "rows")?;
    for one in done {
        let names = one.event_names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (event_type, date) = (&one.partition.event_type, &one.partition.created_date);
        let Expired { files_removed, files_rewritten, rows, .. } = one;
        writeln!(out, "{event_type:<24} {date:<12} {files_removed:>7} {files_rewritten:>9} {rows:>10}  {names}")?;
    }
    let said = if is_dry_run { "have expired events, and would lose them" } else { "had expired events" };
    writeln!(out, "{} partitions {said}", done.len())
}
