//! `lakegate lake count`: events by type and day, or by minute of receipt.

use std::{io::Write, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::args::{QueryArgs, report};
use crate::{
    cli::output_format::Format,
    event::{iso_millis, unix_millis},
    ledger::{TIMES, time_of},
    sink::lake::{Counts, LeftOut, RowsByMinute, UncountedFile},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct CountArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Count by event name too.
    #[arg(long)]
    by_name: bool,
    /// Count by minute of receipt (UTC) in place of type and day.
    #[arg(long)]
    by_minute: bool,
    /// By minute: only events received at this time or later, such as 2026-11-20T12:00:00Z, 2026-11-20, or 12h (ago).
    #[arg(long, value_name = "TIME", value_parser = time, requires = "by_minute")]
    since: Option<i64>,
    /// By minute: only events received before this time.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "by_minute")]
    until: Option<i64>,
    /// How to print the numbers.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Parses a time to Unix milliseconds.
fn time(text: &str) -> Result<i64, String> {
    time_of(text, unix_millis(SystemTime::now())).ok_or_else(|| format!("{text:?} is no time; {TIMES}"))
}

/// Returns whether every file could be read.
pub(super) fn count(args: &CountArgs, out: &mut impl Write) -> anyhow::Result<bool> {
    let (lake, filters) = (args.query.open()?, args.query.filters());
    if args.by_minute {
        let received = args.since.unwrap_or(i64::MIN)..args.until.unwrap_or(i64::MAX);
        let rows = lake.rows_by_minute(&filters, received, args.by_name)?;
        match args.format {
            Format::Json => writeln!(out, "{:#}", minutes_as_json(&rows, args.by_name))?,
            Format::Table => print_minutes(&rows, args.by_name, out)?,
        }
        let left_out = rows.left_out.into_iter().map(|UncountedFile { file, reason, .. }| LeftOut { file, reason });
        return Ok(report(&left_out.collect::<Vec<_>>()));
    }
    let counts = lake.count(&filters, args.by_name)?;
    match args.format {
        Format::Json => writeln!(out, "{:#}", counts_as_json(&counts))?,
        Format::Table => print_counts(&counts, args.by_name, out)?,
    }
    Ok(report(&counts.left_out))
}

fn print_counts(counts: &Counts, by_name: bool, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<40} {:<12} {:>12}", if by_name { "event_name" } else { "event_type" }, "created_date", "events")?;
    let mut total = 0;
    for count in &counts.counts {
        let name = count.event_name.as_deref().unwrap_or(&count.partition.event_type);
        writeln!(out, "{name:<40} {:<12} {:>12}", count.partition.created_date, count.rows)?;
        total += count.rows;
    }
    writeln!(out, "{:<40} {:<12} {total:>12}", "total", "")
}

fn counts_as_json(counts: &Counts) -> Value {
    let lines = counts.counts.iter().map(|count| {
        let mut line = json!({
            "event_type": count.partition.event_type,
            "created_date": count.partition.created_date,
            "events": count.rows,
        });
        if let Some(name) = &count.event_name {
            line["event_name"] = json!(name);
        }
        line
    });
    let left_out: Vec<Value> = counts.left_out.iter().map(|file| json!({"file": file.file, "reason": file.reason})).collect();
    let total: u64 = counts.counts.iter().map(|count| count.rows).sum();
    json!({"counts": lines.collect::<Vec<_>>(), "events": total, "left_out": left_out})
}

/// The beginning of a minute.
fn minute_text(minute: i64) -> String {
    iso_millis(minute.saturating_mul(60_000)).as_str().to_owned()
}

fn print_minutes(rows: &RowsByMinute, by_name: bool, out: &mut impl Write) -> std::io::Result<()> {
    if by_name {
        writeln!(out, "{:<24}  {:<40} {:>12}", "received", "event_name", "events")?;
        for ((minute, name), rows) in &rows.names {
            writeln!(out, "{:<24}  {name:<40} {rows:>12}", minute_text(*minute))?;
        }
    } else {
        writeln!(out, "{:<24} {:>12}", "received", "events")?;
        for (minute, rows) in &rows.minutes {
            writeln!(out, "{:<24} {rows:>12}", minute_text(*minute))?;
        }
    }
    let (total, width) = (rows.minutes.values().sum::<u64>(), if by_name { 66 } else { 24 });
    writeln!(out, "{:<width$} {total:>12}", "total")
}

fn minutes_as_json(rows: &RowsByMinute, by_name: bool) -> Value {
    let minutes: Vec<Value> = if by_name {
        let names = rows.names.iter();
        names
            .map(|((minute, name), rows)| json!({"received": minute_text(*minute), "event_name": name, "events": rows}))
            .collect()
    } else {
        rows.minutes.iter().map(|(minute, rows)| json!({"received": minute_text(*minute), "events": rows})).collect()
    };
    let left_out = rows.left_out.iter().map(|file| {
        let received =
            file.received_millis.map(|(first, last)| [first, last].map(|millis| iso_millis(millis).as_str().to_owned()));
        json!({"file": file.file, "reason": file.reason, "events": file.rows, "received": received})
    });
    json!({
        "minutes": minutes,
        "events": rows.minutes.values().sum::<u64>(),
        "version": rows.version,
        "files": rows.files,
        "files_opened": rows.files_opened,
        "events_decoded": rows.rows_decoded,
        "left_out": left_out.collect::<Vec<_>>(),
    })
}
