//! The output of `lakegate dead-letters`.

use std::io::{self, Write};

use crate::{
    cli::output_format::Format,
    dead_letters::{Group, Grouped, RepairEntry},
    json,
    repair::{Dropped, ReplayReport, Shown},
};

/// Characters in a table line.
const TABLE_WIDTH_MAX: usize = 120;

/// Indent of the second line of a row.
const INDENT: &str = "    ";

/// Columns of a table, as wide as their contents. Columns that do not fit into [`TABLE_WIDTH_MAX`] go to a second line.
pub(in crate::cli) fn table(rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let ends = widths.iter().scan(0, |end, width| {
        *end += width + 2;
        Some(*end - 2)
    });
    let in_first = ends.take_while(|end| *end <= TABLE_WIDTH_MAX).count().max(1);
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
        let (first, second) = cells.split_at(in_first.min(cells.len()));
        writeln!(out, "{}", first.join("  ").trim_end())?;
        if !second.is_empty() {
            writeln!(out, "{INDENT}{}", second.join("  ").trim_end())?;
        }
    }
    Ok(())
}

/// Numbers are right-aligned, texts left-aligned.
fn padded(cell: &str, width: usize) -> String {
    let padding = " ".repeat(width - cell.chars().count());
    if cell.bytes().all(|byte| byte.is_ascii_digit()) { format!("{padding}{cell}") } else { format!("{cell}{padding}") }
}

/// A client's text, made safe for the terminal.
pub(in crate::cli) fn plain(text: Option<&str>) -> String {
    match text {
        None | Some("") => "-".to_owned(),
        Some(text) => json::plain(text),
    }
}

fn rows(groups: &[Group]) -> Vec<Vec<String>> {
    let head = ["count", "event_name", "version", "code", "pointer", "source", "first received", "last received", "for example"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(groups.iter().map(|group| {
        vec![
            group.count.to_string(),
            plain(group.event_name.as_deref()),
            group.schema_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            plain(Some(&group.code)),
            plain(Some(&group.pointer)),
            plain(Some(&group.source)),
            plain(Some(&group.first_received)),
            plain(Some(&group.last_received)),
            plain(group.example_event_uuid.as_deref()),
        ]
    }));
    // Most letters were never repeated.
    if groups.iter().any(|group| group.repeats > 0) {
        let repeated = groups.iter().map(|group| [group.repeats.to_string(), plain(group.last_repeated.as_deref())]);
        let head = ["repeats", "last repeated"].map(str::to_owned);
        rows.iter_mut().zip(std::iter::once(head).chain(repeated)).for_each(|(row, cells)| row.extend(cells));
    }
    rows
}

fn print_json(value: &impl serde::Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Prints the groups, and the number of letters.
pub(super) fn groups(grouped: &Grouped, format: Format, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return print_json(grouped, out);
    }
    if !grouped.groups.is_empty() {
        table(&rows(&grouped.groups), out)?;
    }
    if grouped.ungrouped > 0 {
        writeln!(out, "{} more dead letters are in further groups", grouped.ungrouped)?;
    }
    writeln!(out, "{}", letters(grouped.letters))
}

/// Prints a letter, and its repairs.
pub(super) fn letter(letter: &Shown, out: &mut impl Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Pretty<'a> {
        letter: &'a str,
        state: &'a str,
        line: serde_json::Value,
        repeats: u64,
        last_repeated: Option<&'a str>,
        repairs: &'a [RepairEntry],
    }
    let Shown { letter, state, line, repeats, last_repeated, repairs } = letter;
    // The event is a text in the line, so its numbers stay unchanged.
    let (line, last_repeated) = (serde_json::from_str(line.get())?, last_repeated.as_deref());
    print_json(&Pretty { letter, state, line, repeats: *repeats, last_repeated, repairs }, out)
}

/// Prints the result of a replay.
pub(super) fn replayed(report: &ReplayReport, is_offline: bool, format: Format, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return print_json(report, out);
    }
    let ReplayReport { accepted, duplicates, rejected, not_patched, already_accepted, retry, .. } = report;
    let would = if report.dry_run { "would be " } else { "" };
    let mut line = format!(
        "{}: {accepted} {would}accepted, {duplicates} accepted before, {rejected} {would}still rejected",
        letters(report.letters)
    );
    for (count, what) in [
        (not_patched, "not patched"),
        (already_accepted, "conflicting with an event that was accepted"),
        (retry, "not stored for now"),
    ] {
        if *count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    writeln!(out, "{line}")?;
    if !report.left.groups.is_empty() {
        let mut rows = rows(&report.left.groups);
        for (row, detail) in
            rows.iter_mut().zip(std::iter::once("why").chain(report.left.groups.iter().map(|group| &*group.example_detail)))
        {
            row.push(plain(Some(detail)));
        }
        table(&rows, out)?;
    }
    if let Some(reason) = &report.stopped {
        writeln!(out, "stopped: {reason}; run it again")?;
    }
    if report.dry_run {
        writeln!(out, "nothing was changed")?;
    } else if is_offline && *accepted > 0 {
        writeln!(out, "no gateway runs here: the next start delivers them")?;
    }
    Ok(())
}

/// Prints the result of a drop.
pub(super) fn dropped(dropped: &Dropped, format: Format, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return print_json(dropped, out);
    }
    if !dropped.removed.groups.is_empty() {
        table(&rows(&dropped.removed.groups), out)?;
    }
    writeln!(out, "dropped {}, {} bytes", letters(dropped.removed.letters), dropped.bytes)
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_lines_of_120_characters_and_puts_what_does_not_fit_in_a_second_line() {
        let rows = |last: usize| {
            let row = |cells: [&str; 3], last: String| cells.into_iter().map(str::to_owned).chain([last]).collect::<Vec<_>>();
            [row(["n", "name", &"x".repeat(60)], "why".into()), row(["12", "a", "b"], "y".repeat(last))]
        };
        let printed = |last: usize| {
            let mut out = Vec::new();
            table(&rows(last), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let narrow = printed(46);
        assert_eq!(narrow.lines().map(|line| line.chars().count()).max(), Some(118));
        assert!(narrow.lines().nth(1).is_some_and(|line| line.starts_with("12  a     b  ")), "{narrow}");
        let wide = printed(60);
        let lines: Vec<_> = wide.lines().collect();
        assert_eq!(lines.len(), 4, "{wide}");
        assert_eq!((lines[1], lines[3]), ("    why", format!("    {}", "y".repeat(60)).as_str()));
    }
}
