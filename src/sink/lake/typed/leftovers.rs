//! What has no column, or does not convert: as JSON objects by place (a JSON pointer), so that nothing of an event is lost.

use std::fmt::Write;

use crate::json::pointer_token;

/// The place of a value in an event, as a JSON pointer; grows and shrinks while the event is walked.
#[derive(Debug, Default)]
pub(super) struct Place(String);

impl Place {
    /// Enters the member `name`; returns what [`Place::leave`] needs.
    pub(super) fn enter(&mut self, name: &str) -> usize {
        let before = self.0.len();
        self.0.push('/');
        self.0.push_str(&pointer_token(name));
        before
    }

    /// Enters the element `index`.
    pub(super) fn enter_element(&mut self, index: usize) -> usize {
        let before = self.0.len();
        let _ = write!(self.0, "/{index}");
        before
    }

    /// Back to the place of before.
    pub(super) fn leave(&mut self, before: usize) {
        self.0.truncate(before);
    }
}

/// What an event leaves beside its columns.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) place: Place,
    /// Values that do not convert, each with the reason.
    unconverted: String,
    /// Members without a column.
    other: String,
}

impl Leftovers {
    /// Forgets the event of before.
    pub(super) fn clear(&mut self) {
        self.place.0.clear();
        self.unconverted.clear();
        self.other.clear();
    }

    /// Keeps the value here, which does not convert. `raw` is its JSON text.
    pub(super) fn unconverted(&mut self, raw: &str, reason: &str) {
        let place = in_json(&self.place.0);
        add(&mut self.unconverted, &place, format_args!("{{\"value\":{raw},\"reason\":{}}}", in_json(reason)));
    }

    /// Keeps the value here, which has no column.
    pub(super) fn other(&mut self, raw: &str) {
        let place = in_json(&self.place.0);
        add(&mut self.other, &place, format_args!("{raw}"));
    }

    /// The columns `_unconverted` and `_other`.
    pub(super) fn texts(&mut self) -> (Option<&str>, Option<&str>) {
        (finished(&mut self.unconverted), finished(&mut self.other))
    }
}

/// A text as a JSON string.
pub(super) fn in_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn add(text: &mut String, place: &str, value: std::fmt::Arguments<'_>) {
    text.push(if text.is_empty() { '{' } else { ',' });
    // Writing to a string does not fail.
    let _ = write!(text, "{place}:{value}");
}

fn finished(text: &mut String) -> Option<&str> {
    if text.is_empty() {
        return None;
    }
    text.push('}');
    Some(text)
}
