//! The repair of dead letters: rejected events are ingested again, as they were sent or patched.
//!
//! ```text
//! files, or lines given ─▶ filter ─▶ patch ─▶ validate ─▶ claim ─▶ append ─▶ confirm ─▶ journal
//! dead_letters             open ones  json     ingest, as for a request                   dead_letters
//! ```
//!
//! # Each event once
//!
//! A letter is open until the journal says that its event is stored. A crash may come between the spool and the journal: the
//! letter is then still open, a second replay finds its identity in the dedup window, and the result `duplicate` closes it. So
//! a replay may be interrupted at any moment and run again, as long as the dedup window remembers the stored events. Two
//! replays at once, or a replay and a drop, wait for each other.
//!
//! An event that the *sink* refused (`refused_by_sink`) was accepted once, so the window knows its identity. Its replay claims
//! the letter's name instead ([`Refused`]), which the stored record carries: so the event reaches the sink again, once per
//! letter, by the same steps. If the sink refuses it again, that makes a new letter.
//!
//! A conflicting duplicate (`conflicting_duplicate`) was not stored, because another event has its identity. Its replay is
//! `duplicate` again and makes no second letter. The letter stays open until it is dropped, or replayed with another
//! `event_uuid` by a patch.
//!
//! # Without a patch, and with one
//!
//! Without a patch the event's own bytes are replayed (promise P6). A patch is spliced into them ([`Patch`]): all other bytes
//! stay the same. A letter to which the patch does not apply is not changed; if the patch applies to no letter, that is an
//! error.
//!
//! An event of which only the beginning was stored, because it was far too large, is rejected again (`event_cut`).
//!
//! # What is counted
//!
//! The ledger of requests (received = accepted + duplicate + rejected + retry) does not count replays, because each of their
//! events was counted as rejected on arrival. Replays are counted in `lakegate_replayed_events_total` by outcome; the spooled
//! events are accepted + replayed and accepted.

mod feed;
mod report;
mod request;
mod simulate;

use std::{ops::ControlFlow, sync::Arc, time::SystemTime};

use tokio::{
    sync::{Mutex, MutexGuard},
    task::block_in_place,
};
use uuid::Uuid;

use crate::{
    auth::{EventNames, Source},
    dead_letters::{Archive, Done, Filter, LetterId, RepairEntry, Run, append_repairs},
    digest::sha256_hex,
    event::{iso_millis, unix_millis},
    ingest::{Fate, Ingest, Refused, ReplayedEvent, Sender},
    json::Patch,
    limits::LETTERS_SHOWN_MAX,
    outcome::{Outcome, RejectCode, RetryCause},
};
use feed::{Batch, Taken, feed};
pub use report::{Dropped, ReplayReport, Shown};
pub use request::{Letters, Replay};
pub use simulate::{Change, Simulated, Simulation};

/// Why a repair failed or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The patch applies to none of the selected letters.
    #[error("the patch applies to none of the {letters} dead letters that are meant, so nothing was changed: {first}")]
    NotApplicable {
        /// Number of selected letters.
        letters: u64,
        /// Why the patch does not apply to the first.
        first: String,
    },
    /// The error of the disk.
    #[error("the dead letters cannot be read, or what was done cannot be noted: {0}")]
    Disk(#[from] std::io::Error),
}

/// Replays and drops dead letters, one after the other.
pub struct Repair {
    ingest: Arc<Ingest>,
    archive: Archive,
    turn: Mutex<()>,
}

/// A running replay.
struct Work<'a> {
    replay: &'a Replay,
    senders: &'a [Arc<Source>],
    run: Run,
    patch_sha256: Option<String>,
    report: ReplayReport,
    first_misfit: Option<String>,
}

impl Repair {
    /// A repair for the letters of `ingest`.
    #[must_use]
    pub fn new(ingest: Arc<Ingest>) -> Self {
        let archive = ingest.dead_letters.archive();
        Self { ingest, archive, turn: Mutex::new(()) }
    }

    /// The letters.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Replays letters. `senders` are the existing keys; a letter of another source may hold any event.
    ///
    /// # Errors
    /// [`RepairError`]. Events stored until then stay stored, and the next replay recognises them.
    pub async fn replay(&self, replay: Replay, senders: &[Arc<Source>]) -> Result<ReplayReport, RepairError> {
        let _turn = self.turn.lock().await;
        let run = new_run();
        let patch_sha256 = replay.patch.as_ref().map(|patch| sha256_hex(patch.as_str()));
        let report = ReplayReport::new(&replay, &run, patch_sha256.clone());
        let mut work = Work { replay: &replay, senders, run, patch_sha256, report, first_misfit: None };
        let (mut batches, reading) = feed(self.archive.clone(), replay.filter.clone(), replay.letters.clone());
        let mut touched: Vec<String> = Vec::new();
        while let Some(batch) = batches.recv().await {
            if !touched.contains(&batch.folder) {
                touched.push(batch.folder.clone());
            }
            if self.batch(&mut work, &batch).await?.is_break() {
                break;
            }
        }
        drop(batches);
        let survey = reading.await.map_err(std::io::Error::other)??;
        let Work { mut report, first_misfit, .. } = work;
        report.unreadable_lines = survey.unreadable_lines;
        if !replay.dry_run {
            block_in_place(|| touched.iter().try_for_each(|folder| self.archive.tidy_journal(folder)))?;
            let ReplayReport { letters, accepted, duplicates, rejected, .. } = report;
            tracing::info!(letters, accepted, duplicates, rejected, run = report.run, "dead letters were replayed");
        }
        match first_misfit {
            Some(first) if report.not_patched == report.letters => {
                Err(RepairError::NotApplicable { letters: report.letters, first })
            }
            _ => Ok(report.finished()),
        }
    }

    /// Replays letters of one source together. Breaks if nothing can be stored at present.
    async fn batch(&self, work: &mut Work<'_>, batch: &Batch) -> Result<ControlFlow<()>, RepairError> {
        let mut patched: Vec<(&Taken, std::borrow::Cow<'_, [u8]>)> = Vec::with_capacity(batch.letters.len());
        for letter in &batch.letters {
            if letter.is_cut {
                work.report.cut(letter, &batch.source);
                continue;
            }
            match apply(work.replay.patch.as_ref(), &letter.raw) {
                Ok(raw) => patched.push((letter, raw)),
                Err(reason) => {
                    work.report.not_patched(letter, &batch.source, &reason);
                    work.first_misfit.get_or_insert(reason);
                }
            }
        }
        let any = EventNames::default();
        let sender = Sender::of(&batch.source, work.senders, &any);
        let again: Vec<ReplayedEvent<'_>> = patched
            .iter()
            .map(|(letter, raw)| ReplayedEvent { raw, received_millis: letter.received_millis, refused: refused(letter) })
            .collect();
        let fates = match work.replay.dry_run {
            true => self.ingest.try_replay(sender, &again),
            false if again.is_empty() => Vec::new(),
            false => self.ingest.replay(sender, &again).await,
        };
        let run = Run { at: now(), ..work.run.clone() };
        let mut noted = Vec::new();
        let mut flow = ControlFlow::Continue(());
        for ((letter, _), fate) in patched.iter().zip(&fates) {
            if letter.code == RejectCode::ConflictingDuplicate.as_str() && fate.outcome == Outcome::Duplicate {
                work.report.still_conflicts(letter, &batch.source);
                continue;
            }
            if let Outcome::Retry(cause) = fate.outcome
                && cause != RetryCause::InFlight
            {
                work.report.stopped = Some(cause.detail().to_owned());
                flow = ControlFlow::Break(());
            }
            work.report.count(letter, &batch.source, &fate.outcome);
            noted.extend(entry(&run, work.patch_sha256.as_ref(), letter.id, fate));
        }
        if !work.replay.dry_run {
            block_in_place(|| append_repairs(&self.archive.path(&batch.folder), &noted))?;
            // The next such event is judged anew, and makes a new letter if it is rejected.
            let settled = noted.iter().filter(|entry| entry.outcome != Done::Rejected);
            self.ingest.dead_letters.forget(&settled.filter_map(|entry| entry.letter.parse().ok()).collect());
        }
        Ok(flow)
    }

    /// Lets no replay and no drop begin until the returned guard is dropped; waits for the one under way.
    pub async fn pause(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Removes letters permanently.
    ///
    /// # Errors
    /// The error of the disk. Letters removed until then are gone.
    pub async fn drop_letters(&self, filter: &Filter) -> Result<Dropped, RepairError> {
        let _turn = self.turn.lock().await;
        let run = new_run();
        let removed = block_in_place(|| self.ingest.dead_letters.remove(filter, &run))?;
        let dropped = Dropped { run: run.id, bytes: removed.bytes, removed: removed.groups.finish() };
        self.ingest.metrics.dropped_dead_letters.inc_by(dropped.removed.letters);
        tracing::info!(letters = dropped.removed.letters, bytes = dropped.bytes, run = dropped.run, "dead letters were dropped");
        Ok(dropped)
    }
}

/// Calls `visit` with the first whole letters that `filter` selects, and the repairs of each: with at most `count` letters, and
/// at most [`LETTERS_SHOWN_MAX`].
///
/// # Errors
/// The error of the disk.
pub fn visit_shown(
    archive: &Archive,
    filter: &Filter,
    count: usize,
    visit: &mut dyn FnMut(Shown) -> ControlFlow<()>,
) -> std::io::Result<()> {
    let mut left = count.clamp(1, LETTERS_SHOWN_MAX);
    archive.visit(filter, &mut |found| {
        let Ok(shown) = Shown::of(found, archive) else { return ControlFlow::Continue(()) };
        left -= 1;
        let flow = visit(shown);
        if left == 0 { ControlFlow::Break(()) } else { flow }
    })?;
    Ok(())
}

fn new_run() -> Run {
    Run { id: Uuid::now_v7().to_string(), at: now() }
}

fn now() -> String {
    iso_millis(unix_millis(SystemTime::now())).as_str().to_owned()
}

/// The event in the letter, if the sink refused it.
fn refused(letter: &Taken) -> Option<Refused<'_>> {
    let is_refused = letter.code == RejectCode::RefusedBySink.as_str();
    let event_uuid = letter.event_uuid.as_ref().filter(|_| is_refused)?.parse().ok()?;
    Some(Refused { letter: letter.id.as_identity(), sink: letter.sink.as_deref(), event_uuid })
}

/// Applies the patch to an event's bytes.
fn apply<'a>(patch: Option<&Patch>, raw: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, String> {
    let Some(patch) = patch else { return Ok(raw.into()) };
    let text = std::str::from_utf8(raw).map_err(|_| "the event is not UTF-8".to_owned())?;
    let patched = patch.apply(text).map_err(|error| error.to_string())?;
    Ok(patched.into_bytes().into())
}

/// The journal entry of a letter; `None` if nothing was decided.
fn entry(run: &Run, patch_sha256: Option<&String>, letter: LetterId, fate: &Fate) -> Option<RepairEntry> {
    let (outcome, rejection) = match &fate.outcome {
        Outcome::Accepted => (Done::Accepted, None),
        Outcome::Duplicate => (Done::Duplicate, None),
        Outcome::Rejected(rejection) => (Done::Rejected, Some(rejection)),
        Outcome::Retry(_) => return None,
    };
    let first = rejection.and_then(|rejection| rejection.faults.first());
    Some(RepairEntry {
        at: run.at.clone(),
        run: run.id.clone(),
        letter: letter.to_string(),
        event_uuid: fate.event_uuid.clone(),
        outcome,
        patch_sha256: patch_sha256.cloned(),
        code: rejection.map(|rejection| rejection.code.as_str().to_owned()),
        pointer: first.map(|fault| fault.pointer.clone()),
        detail: first.map(|fault| fault.detail.clone()),
        schema: rejection.and_then(|rejection| rejection.schema.clone()),
    })
}
