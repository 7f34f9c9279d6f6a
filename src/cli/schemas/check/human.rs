//! For a person: one block per finding, then the comparisons, then a summary line.

use std::fmt::Write;

use serde_json::Value;

use super::finding::{Finding, Level, Report, Shown};

/// Characters of a string in a shown event.
const STRING_CHARS_MAX: usize = 100;

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        block(finding, &mut text);
    }
    for compared in &report.comparisons {
        let says = match compared.verdict {
            "proved" => "accepts every event of",
            "refuted" => "refuses events of",
            _ => "perhaps refuses events of",
        };
        let (name, mode, from, to) = (&compared.event_name, compared.mode, compared.from, compared.to);
        let _ = writeln!(text, "{name} {mode}: version {to} {says} version {from} ({})", compared.verdict);
    }
    if report.added_to_manifest > 0 {
        let _ = writeln!(text, "files added to the manifest: {}", report.added_to_manifest);
    }
    if report.recorded_events > 0 {
        let _ = writeln!(text, "recorded events tried: {}", report.recorded_events);
    }
    if !report.is_complete {
        text.push_str("examples and compatibility were not looked at: first the files have to be right\n");
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let verdict = if errors == 0 { "ok" } else { "not ok" };
    let counted = |count: usize, thing: &str| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{verdict}: {} in {}, {}; {}, {}",
        counted(report.events, "event name"),
        counted(report.versions, "version"),
        counted(report.comparisons.len(), "comparison"),
        counted(errors, "error"),
        counted(warnings, "warning"),
    );
    text
}

fn block(finding: &Finding, text: &mut String) {
    let level = if finding.level == Level::Error { "error" } else { "warning" };
    let place = if finding.pointer.is_empty() { String::new() } else { format!(" at {}", finding.pointer) };
    let _ = writeln!(text, "{level}[{}]: {}", finding.code.as_str(), finding.message);
    let _ = writeln!(text, "  {}:{}{place}", finding.file, finding.line);
    if let Some(Shown { event, origin, pointer, reason }) = &finding.witness {
        let place = if pointer.is_empty() { "refused".to_owned() } else { format!("refused at {pointer}") };
        let _ = writeln!(text, "  {place}: {}", shortened(reason));
        let from = match origin.as_str() {
            "made" => "made for the purpose".to_owned(),
            "example" => "an example, without what has no part in it".to_owned(),
            place => format!("recorded, {place}"),
        };
        let _ = writeln!(text, "  the event ({from}):");
        let mut event = event.clone();
        shorten(&mut event);
        let pretty = serde_json::to_string_pretty(&event).unwrap_or_default();
        for line in pretty.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push('\n');
}

/// Shortens the long strings in an event.
pub(super) fn shorten(value: &mut Value) {
    match value {
        Value::String(string) => *string = shortened(string),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

pub(super) fn shortened(string: &str) -> String {
    let count = string.chars().count();
    if count <= STRING_CHARS_MAX {
        return string.to_owned();
    }
    let head: String = string.chars().take(STRING_CHARS_MAX / 2).collect();
    format!("{head}… ({count} characters)")
}
