//! Compares the ledger with the rows of the lake, minute by minute.
//!
//! Of each minute, the lake has what the ledger says is delivered, without what was erased or has expired since. Deliveries and
//! removals go on meanwhile, so the ledger is read before and after the lake, and a minute fits if its rows are between the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    ops::Range,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    app::location_of,
    cli::output_format::Format,
    config::{Config, SinkSettings},
    json::counted,
    ledger::{LedgerRows, minute_of, minute_text},
    sink::lake::{Lake, RemovedByMinute},
};

/// What the comparison found.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    sink: String,
    lake: String,
    since: String,
    until: String,
    minutes: usize,
    delivered: u64,
    rows: u64,
    removed: u64,
    /// Minutes that do not fit.
    differences: Vec<Difference>,
    /// Why the comparison is not complete.
    notes: Vec<String>,
}

/// A minute that does not fit.
#[derive(Debug, Serialize)]
struct Difference {
    minute: String,
    delivered: u64,
    rows: u64,
    removed: u64,
    /// Rows that are missing, or too many.
    missing: u64,
    too_many: u64,
}

/// Compares each lake of the configuration, or the one of this sink. Returns whether everything fits.
pub(super) fn lake(
    config: &Config,
    only: Option<&str>,
    millis: Range<i64>,
    mut read: impl FnMut() -> anyhow::Result<LedgerRows>,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let sinks = config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
    let lakes = sinks.into_iter().filter_map(|sink| match sink.settings {
        SinkSettings::Lake(lake) if only.is_none_or(|only| only == sink.name) => Some((sink.name, location_of(&lake, config))),
        _ => None,
    });
    let lakes: Vec<_> = lakes.collect();
    match only {
        Some(only) => anyhow::ensure!(!lakes.is_empty(), "the configuration has no lake with the name {only}"),
        None => anyhow::ensure!(!lakes.is_empty(), "the configuration has no lake to compare with"),
    }
    let mut comparisons = Vec::new();
    for (sink, location) in lakes {
        let before = read()?;
        let lake = Lake::open_with(&location).with_context(|| format!("the lake {}", location.root))?;
        let whole = minute_of(millis.start) * 60_000..minute_of(millis.end + 59_999) * 60_000;
        let rows = lake.rows_in_files_by_minute(whole.clone())?;
        let removed = lake.removed_by_minute(whole.clone())?;
        let after = read()?;
        let mut comparison = compare(&sink, &before, &after, &rows.minutes, &removed, &whole);
        comparison.lake = location.root.clone();
        comparison.notes.extend(rows.left_out.iter().map(|file| format!("{} cannot be read: {}", file.file, file.reason)));
        comparisons.push(comparison);
    }
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&comparisons)?)?,
        Format::Table => comparisons.iter().try_for_each(|comparison| print(comparison, out))?,
    }
    Ok(comparisons.iter().all(|comparison| comparison.differences.is_empty() && comparison.notes.is_empty()))
}

fn compare(
    sink: &str,
    before: &LedgerRows,
    after: &LedgerRows,
    rows: &BTreeMap<i64, u64>,
    removed: &RemovedByMinute,
    whole: &Range<i64>,
) -> Comparison {
    let delivered = |ledger: &LedgerRows| -> BTreeMap<i64, u64> {
        let minutes = ledger.minutes.iter().filter_map(|row| {
            let delivered = row.sinks.get(sink).map_or(0, |row| row.endings.delivered);
            Some((minute_of(row.start_millis()?), delivered))
        });
        minutes.collect()
    };
    let (least, most) = (delivered(before), delivered(after));
    let mut comparison = Comparison {
        sink: sink.to_owned(),
        since: minute_text(minute_of(whole.start)),
        until: minute_text(minute_of(whole.end)),
        ..Comparison::default()
    };
    let first_known = after.since.as_ref();
    let minutes: BTreeSet<i64> = rows.keys().chain(most.keys()).chain(removed.minutes.keys()).copied().collect();
    for minute in minutes {
        let text = minute_text(minute);
        if first_known.is_none_or(|first| text < *first) {
            continue;
        }
        let of = |counts: &BTreeMap<i64, u64>| counts.get(&minute).copied().unwrap_or(0);
        let (rows, removed) = (of(rows), removed.minutes.get(&minute).map_or(0, |removed| removed.expired + removed.erased));
        let (least, most) = (of(&least), of(&most));
        comparison.minutes += 1;
        comparison.delivered += most;
        comparison.rows += rows;
        comparison.removed += removed;
        let there = rows + removed;
        if there < least || there > most {
            comparison.differences.push(Difference {
                minute: text,
                delivered: most,
                rows,
                removed,
                missing: least.saturating_sub(there),
                too_many: there.saturating_sub(most),
            });
        }
    }
    if let Some(span) = removed.spans.first() {
        comparison.notes.push(format!("rows of a longer time were removed in one commit, and are not known by minute: {span:?}"));
    }
    if removed.known_since_millis.is_none_or(|since| since > whole.start) {
        comparison.notes.extend(match removed.known_since_millis {
            Some(since) if !comparison.differences.is_empty() => {
                Some(format!("removals of rows received before {} are not known", minute_text(minute_of(since))))
            }
            None if !comparison.differences.is_empty() => {
                Some("what was removed from this lake is not known, because it has no table, or its log was cut".to_owned())
            }
            _ => None,
        });
    }
    comparison
}

fn print(comparison: &Comparison, out: &mut impl Write) -> std::io::Result<()> {
    let Comparison { sink, lake, since, until, minutes, delivered, rows, removed, differences, notes } = comparison;
    writeln!(out, "{sink} ({lake}), {since} to {until}: {} with events", counted(*minutes, "minute"))?;
    writeln!(out, "  delivered {delivered}, rows {rows}, erased or expired {removed}")?;
    for Difference { minute, delivered, rows, removed, missing, too_many } in differences {
        let what = match missing {
            0 => format!("{too_many} too many"),
            _ => format!("{missing} missing"),
        };
        writeln!(out, "  {minute}: {what} (delivered {delivered}, rows {rows}, erased or expired {removed})")?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
    if differences.is_empty() && notes.is_empty() {
        writeln!(out, "  The lake has every event that was delivered, and no other.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_minute_that_the_ledger_does_not_have_are_too_many_unless_it_began_later() {
        let ledger = |since: i64| LedgerRows { since: Some(minute_text(since)), ..LedgerRows::default() };
        let compared = |ledger: &LedgerRows| {
            compare("lake", ledger, ledger, &[(1_000, 3)].into(), &RemovedByMinute::default(), &(0..u32::MAX.into()))
        };
        assert_eq!(compared(&ledger(1_000)).differences[0].too_many, 3);
        assert!(compared(&ledger(1_001)).differences.is_empty());
        assert!(compared(&LedgerRows::default()).differences.is_empty(), "an empty ledger says nothing");
    }
}
