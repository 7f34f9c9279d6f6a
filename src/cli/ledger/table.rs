//! Prints the ledger for people: a line for each minute, hour or day, as many as a screen has.

use std::io::{self, Write};

use crate::ledger::{Answers, LedgerRows, MinuteRow};

/// Lines that are printed before they are put together.
/// Why: a person reads a screen or two.
const LINES: usize = 100;

/// Characters of the beginning of a minute's text that name the minute, the hour and the day.
const STEPS: [usize; 3] = [16, 13, 10];

/// Prints the rows; `by_key` has an entry for each further table: by key, or by event name.
pub(super) fn print(ledger: &LedgerRows, by_key: &[bool], out: &mut impl Write) -> io::Result<()> {
    let rows = STEPS.iter().map(|step| together(&ledger.minutes, *step)).find(|rows| rows.len() <= LINES);
    let rows = rows.unwrap_or_else(|| together(&ledger.minutes, STEPS[2]));
    writeln!(
        out,
        "{:<17} {:>10} {:>9} {:>10} {:>10} {:>9} {:>8}  sinks",
        "received (UTC)", "received", "replayed", "accepted", "duplicate", "rejected", "retry"
    )?;
    let total = together(&ledger.minutes, 0);
    for row in rows.iter().chain(&total) {
        let name = if row.minute.is_empty() { "total" } else { &row.minute };
        let Answers { accepted, duplicate, rejected, retry } = row.answers;
        write!(
            out,
            "{name:<17} {:>10} {:>9} {accepted:>10} {duplicate:>10} {rejected:>9} {retry:>8} ",
            row.received, row.replayed
        )?;
        for (sink, endings) in &row.sinks {
            write!(out, " {sink}: {}", endings.text())?;
        }
        writeln!(out)?;
    }
    for by_key in by_key {
        let rows = total.iter().flat_map(|row| if *by_key { &row.keys } else { &row.event_names });
        writeln!(
            out,
            "\n{:<40} {:>10} {:>10} {:>9} {:>8}",
            if *by_key { "key" } else { "event name" },
            "accepted",
            "duplicate",
            "rejected",
            "retry"
        )?;
        for (name, Answers { accepted, duplicate, rejected, retry }) in rows {
            writeln!(out, "{name:<40} {accepted:>10} {duplicate:>10} {rejected:>9} {retry:>8}")?;
        }
    }
    match (&ledger.since, ledger.imbalance) {
        (Some(since), 0) => writeln!(out, "\nThe ledger balances. It begins at {since}."),
        (None, 0) => writeln!(out, "\nThe ledger is empty."),
        (_, events) => writeln!(out, "\nThe ledger does not balance: {events} events. That is a bug; please report it."),
    }
}

/// The sums of rows whose minutes begin with the same `characters`.
fn together(rows: &[MinuteRow], characters: usize) -> Vec<MinuteRow> {
    let mut sums: Vec<MinuteRow> = Vec::new();
    for row in rows {
        let name = row.minute.get(..characters).unwrap_or(&row.minute);
        match sums.last_mut().filter(|sum| sum.minute == name) {
            Some(sum) => sum.add(row),
            None => sums.push(MinuteRow { minute: name.to_owned(), ..row.clone() }),
        }
    }
    sums
}
