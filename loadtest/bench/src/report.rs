//! The table in Markdown.

use std::{fmt::Write as _, path::Path};

use crate::{
    corpus::Sizes,
    figures::short,
    row::{Latency, Row, Rows, Sample},
    under_test::Kind,
    verdict,
};

/// All that was found.
pub(crate) struct Report {
    pub(crate) machine: Vec<String>,
    pub(crate) types: usize,
    pub(crate) sizes: Sizes,
    pub(crate) rows: Rows,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
}

const HEAD: &str = "\
| wire | batch | server | events/s | CPU-s per million events (user + system) | × `bare` | × `parse` | × `parse`, members sorted | p50 / p99 / p99.9 ms | at requests/s | RSS now / peak MiB | bytes written per event | fsyncs/s | records per call | instructions per event |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

impl Report {
    /// The whole document.
    pub(crate) fn to_text(&self) -> String {
        let mut text =
            String::from("# What an event costs\n\nMade by `make bench`; how to read it is in `loadtest/README.md`.\n\n");
        for line in &self.machine {
            let _ = writeln!(text, "- {line}");
        }
        let _ = writeln!(text, "- command: `{}`", command());
        let _ = writeln!(text, "- events: {} types, {}", self.types, self.sizes);
        let Self { seconds, rounds, connections, .. } = self;
        let _ =
            writeln!(text, "- {connections} connections; medians of {rounds} rounds of {seconds} s; ratios are within a round");
        let void: Vec<&Row> = self.rows.0.iter().filter(|row| row.void.is_some()).collect();
        let correct = match void.len() {
            0 => "every answer was the expected one, and client, gateway and stream counted the same number of events".to_owned(),
            count => format!("**{count} rows are void**; the table says why"),
        };
        let _ = writeln!(
            text,
            "- {correct}\n\n## The budget\n\n{}\n## The table\n\n{HEAD}{}",
            verdict::table(&self.rows),
            self.table()
        );
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows.0 {
            let cells = row.void.as_ref().map_or_else(|| self.cells(row), |reason| vec![format!("VOID: {}", one_line(reason))]);
            let _ = writeln!(text, "| {} | {} | {} | {} |", row.wire(), row.batch, row.kind.label(), cells.join(" | "));
        }
        text
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let ratio = |kind: Kind| {
            let reference = self.rows.beside(row, kind).filter(|reference| reference.kind != row.kind);
            reference.map_or("–".into(), |reference| short(row.ratio(reference, Sample::cpu)))
        };
        let user = row.median(|sample| sample.usage.user * 1e6 / sample.events as f64);
        let system = row.median(|sample| sample.usage.system * 1e6 / sample.events as f64);
        let Latency { rate, p50, p99, p999 } = row.latency();
        let of_gateway = |value: f64| if row.kind.is_gateway() { short(value) } else { "–".into() };
        vec![
            short(row.median(|sample| sample.events_per_second)),
            format!("{} ({} + {})", short(row.median(Sample::cpu)), short(user), short(system)),
            ratio(Kind::Bare),
            ratio(Kind::Parse),
            ratio(Kind::ParsePlain),
            format!("{} / {} / {}", short(p50), short(p99), short(p999)),
            short(rate),
            format!("{} / {}", short(row.memory.now), short(row.memory.most)),
            of_gateway(row.median(|sample| sample.usage.written_bytes as f64 / sample.events as f64)),
            of_gateway(row.median(|sample| sample.syncs / sample.seconds)),
            row.records_per_call.map_or("–".into(), short),
            short(row.median(|sample| sample.instructions.map_or(f64::NAN, |count| count / sample.events as f64))),
        ]
    }
}

fn one_line(reason: &str) -> String {
    reason.replace(['\n', '|'], " ").chars().take(200).collect()
}

/// The command line, without the paths of the machine.
fn command() -> String {
    let word = |word: String| {
        let path = Path::new(&word);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if path.is_absolute() { name.unwrap_or_default() } else { word }
    };
    let mut words: Vec<String> = std::env::args().map(word).collect();
    words[0] = "lakegate-bench".into();
    words.join(" ")
}
