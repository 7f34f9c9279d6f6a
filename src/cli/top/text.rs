//! The page as plain text, for `--once` and for an output that is no terminal.

use std::fmt::Write as _;

use super::page::{self, Pairs, Table};
use crate::{limits::TOP_TEXT_ROWS, overview::Report};

/// The whole text.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    let (title, _) = page::title(report);
    let _ = writeln!(out, "lakegate top  {title}  {}", report.time);
    for (line, _) in page::conditions(report) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "events/s    {}", pairs(&page::events(report)));
    let _ = writeln!(out, "requests/s  {}", pairs(&page::requests(report)));
    for pair in page::spool(report).chunks(3) {
        let _ = writeln!(out, "            {}", pairs(&pair.to_vec()));
    }
    let tables = [page::latency(report), page::sinks(report), page::keys(report), page::shards(report), page::codes(report)];
    for table in page::gateways(report).into_iter().chain(tables).filter(|table| !table.rows.is_empty()) {
        out.push('\n');
        write_table(&mut out, &table);
    }
    out
}

/// Pairs of names and values in one line.
pub(super) fn pairs(pairs: &Pairs) -> String {
    pairs.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("   ")
}

fn write_table(out: &mut String, table: &Table) {
    let shown = &table.rows[..table.rows.len().min(TOP_TEXT_ROWS)];
    let head: Vec<String> = table.head.iter().map(|word| (*word).to_owned()).collect();
    let rows = || std::iter::once(&head).chain(shown);
    let width = |column: usize| rows().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in rows() {
        // Names on the left, numbers to the right.
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if shown.len() < table.rows.len() {
        let _ = writeln!(out, "… and {} more", table.rows.len() - shown.len());
    }
}
