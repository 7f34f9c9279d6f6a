//! Searches the dead letters in files.

use std::{cell::Cell, io};

use super::{
    criterion::{Criterion, Subject, Verdict},
    report::LettersReport,
};
use crate::dead_letters::{DeadLetters, Run, StoredLetter};

/// Whether a letter is selected, and whether that is only because its text contains a value: its event cannot be read.
fn selects_letter(criterion: &Criterion, line: &[u8], letter: &StoredLetter<'_>) -> (bool, bool) {
    let raw = if letter.raw_bytes.is_some() { None } else { letter.raw() };
    let verdict = criterion.judge(&Subject {
        event_uuid: letter.event_uuid.as_deref(),
        event_name: letter.event_name.as_deref(),
        client_address: None,
        payload: raw.as_deref(),
    });
    match verdict {
        Verdict::Selected => (true, false),
        Verdict::Other => (false, false),
        Verdict::Unknown => {
            let is_mentioned = criterion.is_mentioned_in(line) || raw.is_some_and(|raw| criterion.is_mentioned_in(&raw));
            (is_mentioned, is_mentioned)
        }
    }
}

/// Whether a letter is to be erased.
pub(super) fn is_erased(criterion: &Criterion, line: &[u8], letter: &StoredLetter<'_>) -> bool {
    let (is_selected, is_undecided) = selects_letter(criterion, line, letter);
    is_selected && (!is_undecided || criterion.text().unreadable_too)
}

/// Searches the letters of all states, and erases the selected ones unless `dry_run` is set. Blocks on the disk.
pub(super) fn erase(
    dead_letters: &DeadLetters,
    criterion: &Criterion,
    run: &Run,
    dry_run: bool,
    report: &mut LettersReport,
) -> io::Result<()> {
    let (mut searched, mut selected, mut undecided) = (0, 0, 0);
    let mut damaged_files = Vec::new();
    dead_letters.archive().search(
        &mut |line, letter| {
            searched += 1;
            selected += u64::from(is_erased(criterion, line, letter));
            undecided += u64::from(!criterion.text().unreadable_too && selects_letter(criterion, line, letter).1);
        },
        &mut |path, bytes| {
            if criterion.is_mentioned_in(bytes) {
                damaged_files.push(path.display().to_string());
            }
        },
    )?;
    damaged_files.dedup();
    (report.searched, report.undecided, report.damaged_files) = (searched, undecided, damaged_files);
    if dry_run {
        report.erased = selected;
        return Ok(());
    }
    let removed = Cell::new(0);
    dead_letters.erase(
        &|_, line, letter| {
            let is_erased = is_erased(criterion, line, letter);
            removed.set(removed.get() + u64::from(is_erased));
            is_erased
        },
        run,
    )?;
    report.erased += removed.get();
    Ok(())
}
