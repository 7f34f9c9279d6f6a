//! Prints live events: a line for each.

use std::{
    ffi::OsStr,
    io::{self, BufWriter, Stdout, Write},
    ops::ControlFlow,
    time::Instant,
};

use anyhow::Context;
use serde::{Deserialize, de::IgnoredAny};

use super::super::failure::notice;
use crate::{
    json::{Visible, plain},
    limits::{WATCH_COLUMNS, WATCH_NOTE_INTERVAL},
};

/// How an event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text {
        /// Whether what does not fit goes into a second line.
        wraps: bool,
        has_colours: bool,
    },
}

impl Form {
    /// Text for what standard output is. `no_color`, if not empty, wants no colours (<https://no-color.org>).
    pub(super) fn of_terminal(is_terminal: bool, no_color: Option<&OsStr>) -> Self {
        Self::Text { wraps: is_terminal, has_colours: is_terminal && no_color.is_none_or(OsStr::is_empty) }
    }
}

/// See the module.
pub(super) struct Printer {
    form: Form,
    out: Visible<BufWriter<Stdout>>,
    /// How many events are still to be printed, if there is a limit.
    left: Option<u64>,
    left_out: LeftOut,
    /// When that was told last; the first time is at once.
    told_at: Option<Instant>,
}

/// What is not printed since it was told last.
#[derive(Debug, Default)]
struct LeftOut {
    shown: u64,
    matched: u64,
    missed: u64,
}

#[derive(Deserialize)]
struct Sampled {
    shown: u64,
    matched: u64,
}

#[derive(Deserialize)]
struct Missed {
    events: u64,
}

/// The part of an event that is printed as text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    received_datetime: String,
    key: String,
    event_name: String,
    event_uuid: String,
    outcome: String,
    code: String,
    pointer: String,
    detail: String,
    replayed: bool,
}

impl Printer {
    pub(super) fn new(form: Form, count: Option<u64>) -> Self {
        let out = Visible::new(BufWriter::new(io::stdout()));
        Self { form, out, left: count, left_out: LeftOut::default(), told_at: None }
    }

    /// Prints an event of the stream. Breaks after the last one.
    pub(super) fn print(&mut self, kind: &str, data: &str) -> anyhow::Result<ControlFlow<()>> {
        let not_understood = || format!("the stream is not understood: an event {kind:?}");
        match kind {
            "event" => {
                match self.form {
                    Form::Json => {
                        serde_json::from_str::<IgnoredAny>(data).with_context(not_understood)?;
                        writeln!(self.out, "{data}")?;
                    }
                    Form::Text { wraps, has_colours } => {
                        let shown: Shown = serde_json::from_str(data).with_context(not_understood)?;
                        writeln!(self.out, "{}", text(&shown, wraps, has_colours))?;
                    }
                }
                if let Some(left) = &mut self.left {
                    *left -= 1;
                    if *left == 0 {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            "sampled" => {
                let Sampled { shown, matched } = serde_json::from_str(data).with_context(not_understood)?;
                self.left_out.shown += shown;
                self.left_out.matched += matched;
            }
            "missed" => {
                let Missed { events } = serde_json::from_str(data).with_context(not_understood)?;
                self.left_out.missed += events;
            }
            // Of a newer gateway.
            _ => {}
        }
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= WATCH_NOTE_INTERVAL) {
            self.tell_what_is_left_out();
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Tells how much was not printed, if anything.
    pub(super) fn tell_what_is_left_out(&mut self) {
        let lines = std::mem::take(&mut self.left_out).lines();
        if !lines.is_empty() {
            self.told_at = Some(Instant::now());
            lines.iter().for_each(|line| notice(line));
        }
    }
}

impl LeftOut {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.matched > 0 {
            lines.push(format!("showing {} of {} events: a fair sample, --rate shows more", self.shown, self.matched));
        }
        if self.missed > 0 {
            lines.push(format!("missed {} events, because what is printed here was not read fast enough", self.missed));
        }
        lines
    }
}

/// The event in one line; on a terminal in two, if it does not fit.
fn text(shown: &Shown, wraps: bool, has_colours: bool) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { plain(text) };
    let time = plain(shown.received_datetime.split_once('T').map_or("-", |(_, time)| time));
    let [key, name, uuid] = [&shown.key, &shown.event_name, &shown.event_uuid].map(|text| or_dash(text));
    let outcome = format!("{:<9}", plain(&shown.outcome));
    let replayed = if shown.replayed { " (replayed)" } else { "" };
    let rest = format!("{key} {name} {uuid}{replayed}");
    let width = [&time, &outcome, &rest].iter().map(|text| text.chars().count() + 1).sum::<usize>();
    let first = match colour(&shown.outcome).filter(|_| has_colours) {
        Some(colour) => format!("{time} \u{1b}[{colour}m{outcome}\u{1b}[0m {rest}"),
        None => format!("{time} {outcome} {rest}"),
    };
    if shown.code.is_empty() {
        return first;
    }
    let pointer = if shown.pointer.is_empty() { String::new() } else { format!(" {}", plain(&shown.pointer)) };
    let why = format!("{}{pointer}: {}", plain(&shown.code), plain(&shown.detail));
    let separator = if wraps && width + why.chars().count() > WATCH_COLUMNS { "\n    " } else { " " };
    format!("{first}{separator}{why}")
}

/// The colour of an outcome, as terminals number them.
fn colour(outcome: &str) -> Option<u8> {
    match outcome {
        "accepted" => Some(32),
        "duplicate" => Some(36),
        "rejected" => Some(31),
        "retry" => Some(33),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::is_unseen;

    fn shown(json: &str) -> Shown {
        serde_json::from_str(json).unwrap()
    }

    const ACCEPTED: &str = r#"{"received_datetime":"2026-11-20T18:03:21.456Z","key":"web","event_name":"menu:item:viewed",
        "event_uuid":"01a1f059-0e41-719a-b0ae-3071d38cf734","outcome":"accepted","bytes":7,"payload":{}}"#;

    #[test]
    fn an_event_is_a_line_and_on_a_terminal_the_reason_has_one_of_its_own_where_it_does_not_fit() {
        let line = "18:03:21.456Z accepted  web menu:item:viewed 01a1f059-0e41-719a-b0ae-3071d38cf734";
        assert_eq!(text(&shown(ACCEPTED), true, false), line);
        let coloured = text(&shown(ACCEPTED), true, true);
        assert_eq!(coloured, line.replace("accepted ", "\u{1b}[32maccepted \u{1b}[0m"));
        let rejected = Shown {
            outcome: "rejected".into(),
            code: "schema_violation".into(),
            pointer: "/price_minor".into(),
            detail: "expected an integer, got the string \"14.50\"".into(),
            ..shown(ACCEPTED)
        };
        let (line, why) =
            (line.replace("accepted", "rejected"), "schema_violation /price_minor: expected an integer, got the string");
        assert_eq!(text(&rejected, true, false), format!("{line}\n    {why} \"14.50\""));
        assert_eq!(text(&rejected, false, false), format!("{line} {why} \"14.50\""));
        let short = Shown { code: "busy".into(), detail: "x".into(), replayed: true, outcome: "retry".into(), ..shown(ACCEPTED) };
        let line = "18:03:21.456Z retry     web menu:item:viewed 01a1f059-0e41-719a-b0ae-3071d38cf734 (replayed) busy: x";
        assert_eq!(text(&short, true, false), line);
    }

    #[test]
    fn nothing_of_an_event_reaches_the_terminal_as_anything_but_text() {
        let odd = "a\u{1b}[2J\u{9b}\u{202e}\n\r".to_owned();
        let fields = || odd.clone();
        let all = Shown {
            received_datetime: format!("xT{odd}"),
            key: fields(),
            event_name: fields(),
            event_uuid: fields(),
            outcome: fields(),
            code: fields(),
            pointer: fields(),
            detail: fields(),
            replayed: false,
        };
        for has_colours in [true, false] {
            assert!(!text(&all, false, has_colours).contains(is_unseen));
        }
        let nothing = Shown { outcome: "rejected".into(), ..Shown::default() };
        assert_eq!(text(&nothing, true, false), "- rejected  - - -");
    }

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        let colours = |is_terminal, no_color: Option<&str>| {
            matches!(Form::of_terminal(is_terminal, no_color.map(OsStr::new)), Form::Text { has_colours: true, .. })
        };
        assert!(colours(true, None) && colours(true, Some("")));
        assert!(!colours(true, Some("1")) && !colours(false, None));
    }

    #[test]
    fn what_is_left_out_is_told_with_its_cause() {
        assert!(LeftOut::default().lines().is_empty());
        let lines = LeftOut { shown: 10, matched: 4_000, missed: 7 }.lines();
        assert!(lines[0].starts_with("showing 10 of 4000 events") && lines[1].starts_with("missed 7 events"), "{lines:?}");
    }
}
