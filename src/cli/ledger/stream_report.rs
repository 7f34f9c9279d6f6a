//! Prints the comparison of the ledger with streams.

use std::io::{self, Write};

use super::stream::{Comparison, Difference, NotCompared};
use crate::{cli::output_format::Format, json::counted};

/// Prints the comparisons.
pub(super) fn print(comparisons: &[Comparison], format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(comparisons)?)?,
        Format::Table => comparisons.iter().try_for_each(|comparison| print_one(comparison, out))?,
    }
    Ok(())
}

fn print_one(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let Comparison {
        sink,
        stream,
        since,
        until,
        minutes,
        delivered,
        events,
        doubles,
        waiting,
        unanswered,
        strangers,
        first_stranger,
        differences,
        not_compared,
        created,
        shards,
        records,
        bytes,
    } = comparison;
    writeln!(out, "{sink} ({stream}), {since} to {until}: {} with events", counted(*minutes, "minute"))?;
    writeln!(out, "  delivered {delivered}, in the stream {events}, and {doubles} doubles of them")?;
    writeln!(out, "  read: {records} records, {bytes} bytes, {shards} shards")?;
    for Difference { minute, delivered, events, missing, too_many } in differences {
        let what = match missing {
            0 => format!("{too_many} too many"),
            _ => format!("{missing} missing"),
        };
        writeln!(out, "  {minute}: {what} (delivered {delivered}, in the stream {events})")?;
    }
    if *waiting > 0 {
        writeln!(out, "  on their way: {waiting} events; their minutes are compared with what is delivered so far")?;
    }
    if *unanswered > 0 {
        writeln!(out, "  in the stream, but not delivered by the ledger: {unanswered} events, whose call had no answer")?;
    }
    for NotCompared { since, until, delivered, events, why } in not_compared {
        writeln!(out, "  not compared: {since} to {until} (delivered {delivered}, in the stream {events}): {why}")?;
    }
    if let Some(first) = first_stranger {
        writeln!(out, "  {strangers} lines are no events of a gateway; the first: {first}")?;
    }
    if differences.iter().any(|difference| difference.missing > 0) {
        writeln!(
            out,
            "  Missing: the stream was created at {created}. Was it made anew since, or does the sink name another one?"
        )?;
        writeln!(out, "  If not, the events were taken and are gone: ask AWS, and `lakegate find` for single ones.")?;
    }
    if differences.iter().any(|difference| difference.too_many > 0) {
        writeln!(out, "  Too many: name all gateways that write to the stream with --gateway. If you did, somebody else writes")?;
        writeln!(
            out,
            "  to it, a gateway is gone with its ledger, or a ledger began in the middle: after an update, a new data folder,"
        )?;
        writeln!(out, "  or a damaged file.")?;
    }
    if comparison.is_well() {
        writeln!(out, "  In these minutes the stream has every event that was delivered, and no other.")?;
    }
    Ok(())
}
