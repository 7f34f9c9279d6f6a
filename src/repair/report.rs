//! The reports of repairs.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{feed::Taken, request::Replay};
use crate::{
    dead_letters::{Archive, Found, Grouped, Groups, Member, RepairEntry, Run, State, history},
    outcome::{Fault, Outcome, Rejection},
};

/// The results of a replay. The counts add up to `letters`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Whether nothing was changed. `accepted` then counts valid events; some may turn out to be duplicates.
    pub dry_run: bool,
    /// Name of the run in the journals.
    pub run: String,
    /// SHA-256 of the patch, without white space around it.
    pub patch_sha256: Option<String>,
    /// Selected letters that were tried.
    pub letters: u64,
    /// Stored, and repaired.
    pub accepted: u64,
    /// Accepted before, and so repaired.
    pub duplicates: u64,
    /// Still invalid.
    pub rejected: u64,
    /// The patch does not apply.
    pub not_patched: u64,
    /// Conflicting with an event that was accepted, and still in the dedup window.
    pub already_accepted: u64,
    /// Valid, but nothing could be stored: run it again.
    pub retry: u64,
    /// Why the replay ended before all selected letters were tried, if it did.
    pub stopped: Option<String>,
    /// Lines that are not letters, or whose event cannot be read.
    pub unreadable_lines: u64,
    /// The letters that are still open, grouped by their new fault.
    pub left: Grouped,
    #[serde(skip)]
    groups: Groups,
}

/// The result of a drop.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dropped {
    /// Name of the run in the journals.
    pub run: String,
    /// Freed bytes.
    pub bytes: u64,
    /// The letters, in groups.
    pub removed: Grouped,
}

/// A whole letter.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Name of the letter.
    pub letter: String,
    /// `open` or `repaired`.
    pub state: String,
    /// The unchanged line.
    pub line: Box<RawValue>,
    /// How often its event was rejected again, without another letter.
    #[serde(default)]
    pub repeats: u64,
    /// When that was for the last time.
    #[serde(default)]
    pub last_repeated: Option<String>,
    /// The repairs of the letter.
    pub repairs: Vec<RepairEntry>,
}

impl Shown {
    pub(super) fn of(found: &Found<'_>, archive: &Archive) -> io::Result<Self> {
        let line = std::str::from_utf8(found.line).map_err(io::Error::other)?;
        Ok(Self {
            letter: found.id().to_string(),
            state: if found.state == State::Open { "open" } else { "repaired" }.to_owned(),
            line: RawValue::from_string(line.to_owned())?,
            repeats: found.repeats,
            last_repeated: found.last_repeated.map(str::to_owned),
            repairs: history(&archive.path(found.folder), found.id())?,
        })
    }
}

impl ReplayReport {
    pub(super) fn new(replay: &Replay, run: &Run, patch_sha256: Option<String>) -> Self {
        Self { dry_run: replay.dry_run, run: run.id.clone(), patch_sha256, ..Self::default() }
    }

    pub(super) fn count(&mut self, letter: &Taken, source: &str, outcome: &Outcome) {
        self.letters += 1;
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Rejected(rejection) => {
                self.rejected += 1;
                self.leave(letter, source, rejection);
            }
            Outcome::Retry(cause) => {
                self.retry += 1;
                self.say(letter, source, cause.as_str(), None, &Fault::new(cause.detail(), ""));
            }
        }
    }

    pub(super) fn not_patched(&mut self, letter: &Taken, source: &str, reason: &str) {
        self.letters += 1;
        self.not_patched += 1;
        self.say(letter, source, "patch_not_applicable", None, &Fault::new(reason, ""));
    }

    pub(super) fn cut(&mut self, letter: &Taken, source: &str) {
        self.letters += 1;
        self.rejected += 1;
        self.say(letter, source, "event_cut", None, &Fault::new("the event was too large to be kept whole", ""));
    }

    pub(super) fn still_conflicts(&mut self, letter: &Taken, source: &str) {
        self.letters += 1;
        self.already_accepted += 1;
        let detail = "another event with this event_uuid was accepted, and the dedup window still knows it";
        self.say(letter, source, "already_accepted", None, &Fault::new(detail, ""));
    }

    fn leave(&mut self, letter: &Taken, source: &str, rejection: &Rejection) {
        let version = rejection.schema.as_ref().and_then(|schema| schema.rsplit_once('/')?.1.parse().ok());
        let none = Fault::new("", "");
        self.say(letter, source, rejection.code.as_str(), version, rejection.faults.first().unwrap_or(&none));
    }

    fn say(&mut self, letter: &Taken, source: &str, code: &str, schema_version: Option<u32>, fault: &Fault) {
        self.groups.add(&Member {
            event_name: letter.event_name.as_deref(),
            schema_version,
            code,
            pointer: &fault.pointer,
            source,
            received_datetime: &letter.received_datetime,
            event_uuid: letter.event_uuid.as_deref(),
            detail: &fault.detail,
            repeats: 0,
            last_repeated: None,
        });
    }

    /// Adds the report of another part of the same replay.
    pub fn add(&mut self, other: Self) {
        self.letters += other.letters;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.not_patched += other.not_patched;
        self.retry += other.retry;
        self.unreadable_lines += other.unreadable_lines;
        self.stopped = other.stopped.or(self.stopped.take());
        self.left.letters += other.left.letters;
        self.left.groups.extend(other.left.groups);
        self.left.ungrouped += other.left.ungrouped;
    }

    pub(super) fn finished(mut self) -> Self {
        self.left = std::mem::take(&mut self.groups).finish();
        self
    }

    /// Whether every selected letter is repaired.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.accepted + self.duplicates == self.letters && self.stopped.is_none() && self.unreadable_lines == 0
    }
}
