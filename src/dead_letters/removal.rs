//! Removes letters permanently.
//!
//! The writer opens another file on request; afterwards nothing is appended to the earlier files, and the removal reads them
//! one by one. It first records the dropped letters durably in the journal; then it rewrites the file aside and renames the new
//! file into place, or deletes an empty file. So a crash leaves either the letter, or a line that the journal marks as dropped;
//! the next removal deletes that line.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    archive::{Archive, Found, Lines, sorted_numbers},
    filter::State,
    folder::file_name,
    groups::Groups,
    journal::{self, Done, RepairEntry, Repairs},
    known::KnownLetters,
    pack::LetterLines,
    stored::{LetterId, StoredLetter},
};
use crate::durable;

/// Selects letters by their state, their line and what the line says.
pub type Selects<'a> = dyn Fn(State, &[u8], &StoredLetter<'_>) -> bool + 'a;

/// The removed letters.
#[derive(Debug, Default)]
pub struct Removed {
    /// The letters, in groups.
    pub groups: Groups,
    /// Freed bytes on disk.
    pub bytes: u64,
}

/// The run that removes, for the journal.
#[derive(Debug, Clone)]
pub struct Run {
    /// Name of the run.
    pub id: String,
    /// Time of the run.
    pub at: String,
}

impl Archive {
    /// Removes the letters that `selects` selects from `folder`, whose writer has opened another file. Only for the process that
    /// holds the lock of the data folder.
    ///
    /// # Errors
    /// The error of the disk. Letters removed until then are gone.
    pub(super) fn remove(
        &self,
        folder: &str,
        selects: &Selects<'_>,
        run: &Run,
        known: &KnownLetters,
        removed: &mut Removed,
    ) -> io::Result<()> {
        let path = self.path(folder);
        let _ = fs::remove_file(path.join(ASIDE));
        let repairs = Repairs::read(&path)?;
        let removal = Removal { folder, path, selects, run, repairs, known };
        let mut numbers = sorted_numbers(&removal.path)?;
        // The newest file belongs to the writer.
        numbers.pop();
        for number in numbers {
            let gone = removal.mark(number, removed)?;
            if !gone.is_empty() {
                removed.bytes += removal.rewrite(number, &gone)?;
            }
        }
        Ok(())
    }

    /// Rewrites the journal of `folder` if it is too long.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn tidy_journal(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if !journal::is_too_long(&path) {
            return Ok(());
        }
        let there = letters_in(&path)?;
        journal::shrink(&path, |repair, letter| repair.outcome != Done::Rejected && there.contains(letter))
    }

    /// Rewrites the journal of `folder` without entries of letters that are gone: an entry repeats parts of its event.
    pub(super) fn forget_removed(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if !journal::is_there(&path) {
            return Ok(());
        }
        let there = letters_in(&path)?;
        journal::shrink(&path, |_, letter| there.contains(letter))
    }
}

/// Names of the letters in a folder.
fn letters_in(path: &Path) -> io::Result<HashSet<LetterId>> {
    let mut there = HashSet::new();
    for number in sorted_numbers(path)? {
        let Some(mut lines) = Lines::open(path, number)? else { continue };
        while let Some(line) = lines.next()? {
            there.insert(LetterId::of(line));
        }
    }
    Ok(there)
}

const ASIDE: &str = "letters.tmp";

/// The removal from one folder.
struct Removal<'a> {
    folder: &'a str,
    path: PathBuf,
    selects: &'a Selects<'a>,
    run: &'a Run,
    repairs: Repairs,
    known: &'a KnownLetters,
}

impl Removal<'_> {
    /// Records in the journal which letters of a file are removed, and returns their names.
    fn mark(&self, number: u32, removed: &mut Removed) -> io::Result<HashSet<LetterId>> {
        let mut gone = HashSet::new();
        let mut noted = Vec::new();
        let Some(mut lines) = Lines::open(&self.path, number)? else { return Ok(gone) };
        while let Some(line) = lines.next()? {
            let state = self.repairs.state(line);
            if state == State::Dropped {
                gone.insert(LetterId::of(line));
                continue;
            }
            let Ok(letter) = StoredLetter::parse(line) else { continue };
            if !(self.selects)(state, line, &letter) {
                continue;
            }
            let (repeats, last_repeated) = (0, None);
            let found = Found { folder: self.folder, line, letter, state, repeats, last_repeated };
            removed.groups.add(&found.member());
            gone.insert(found.id());
            noted.push(RepairEntry {
                at: self.run.at.clone(),
                run: self.run.id.clone(),
                letter: found.id().to_string(),
                event_uuid: found.letter.event_uuid.as_deref().map(str::to_owned),
                outcome: Done::Dropped,
                patch_sha256: None,
                code: None,
                pointer: None,
                detail: None,
                schema: None,
            });
        }
        journal::append(&self.path, &noted)?;
        // From now on such an event makes a new letter.
        self.known.forget(&gone);
        Ok(gone)
    }

    /// Rewrites a file without the letters in `gone`. Returns the number of freed bytes.
    fn rewrite(&self, number: u32, gone: &HashSet<LetterId>) -> io::Result<u64> {
        let (file, aside) = (self.path.join(file_name(number)), self.path.join(ASIDE));
        let Some(mut lines) = Lines::open(&self.path, number)? else { return Ok(0) };
        let before = fs::metadata(&file)?.len();
        let mut kept = BufWriter::new(durable::create(&aside)?);
        // The remaining letters of packs stay packed.
        let mut packed = LetterLines::default();
        while let Some(line) = lines.next()? {
            if gone.contains(&LetterId::of(line)) {
                continue;
            }
            let line = line.to_vec();
            if lines.is_packed() {
                packed.add_line(&line, self.folder);
                continue;
            }
            kept.write_all(&packed.packed(self.folder))?;
            kept.write_all(&line)?;
            kept.write_all(b"\n")?;
        }
        kept.write_all(&packed.packed(self.folder))?;
        let kept = kept.into_inner().map_err(io::IntoInnerError::into_error)?;
        kept.sync_all()?;
        let after = kept.metadata()?.len();
        // The letters that stay are nearer to the beginning of their file now.
        self.known.moved_within(self.folder, number);
        if after == 0 {
            fs::remove_file(&aside)?;
            fs::remove_file(&file)?;
        } else {
            fs::rename(&aside, &file)?;
        }
        durable::sync_folder(&self.path)?;
        Ok(before.saturating_sub(after))
    }
}
