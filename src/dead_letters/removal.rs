//! Taking letters out for good.
//!
//! The writer is asked to begin another file; from then on nobody appends to those before it, and they are looked through one
//! by one. That a letter is dropped stands in the journal, durably, before its file is written anew aside and renamed into
//! place; a file that holds nothing any more goes. So a crash leaves a letter in place or takes it out, and where it left the
//! line, the journal says that it is gone; the next removal takes it along.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use super::{
    archive::{Archive, Found, Lines, sorted_numbers},
    filter::{Filter, State},
    folder::file_name,
    groups::Groups,
    journal::{self, Done, RepairEntry, Repairs},
    pack::LetterLines,
    stored::{LetterId, StoredLetter},
};
use crate::durable;

/// What was taken out.
#[derive(Debug, Default)]
pub struct Removed {
    /// The letters, in groups.
    pub groups: Groups,
    /// Bytes on disk that are free now.
    pub bytes: u64,
}

/// Who removes, for the journal.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its name.
    pub id: String,
    /// When.
    pub at: String,
}

impl Archive {
    /// Takes the letters that `filter` means out of `folder`, whose writer has begun another file. Only for whoever holds the
    /// lock of the data folder.
    ///
    /// # Errors
    /// The disk's. What was taken out until then is gone.
    pub(super) fn remove(&self, folder: &str, filter: &Filter, run: &Run, removed: &mut Removed) -> io::Result<()> {
        let path = self.path(folder);
        let _ = fs::remove_file(path.join(ASIDE));
        let repairs = Repairs::read(&path)?;
        let removal = Removal { folder, path, filter, run, repairs };
        let mut numbers = sorted_numbers(&removal.path)?;
        // The newest is the writer's.
        numbers.pop();
        for number in numbers {
            let gone = removal.mark(number, removed)?;
            if !gone.is_empty() {
                removed.bytes += removal.rewrite(number, &gone)?;
            }
        }
        self.tidy_journal(folder)
    }

    /// Writes the journal of `folder` anew where it has grown too long.
    ///
    /// # Errors
    /// The disk's.
    pub fn tidy_journal(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if !journal::is_too_long(&path) {
            return Ok(());
        }
        let mut there = HashSet::new();
        for number in sorted_numbers(&path)? {
            let Some(mut lines) = Lines::open(&path, number)? else { continue };
            while let Some(line) = lines.next()? {
                there.insert(LetterId::of(line));
            }
        }
        journal::shrink(&path, |letter| there.contains(letter))
    }
}

const ASIDE: &str = "letters.tmp";

/// The removal from one folder.
struct Removal<'a> {
    folder: &'a str,
    path: PathBuf,
    filter: &'a Filter,
    run: &'a Run,
    repairs: Repairs,
}

impl Removal<'_> {
    /// Notes in the journal which letters of a file go, and answers them.
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
            if !self.filter.wants(state) || !self.filter.matches(line, &letter) {
                continue;
            }
            let found = Found { folder: self.folder, line, letter, state };
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
        Ok(gone)
    }

    /// Writes a file anew without the letters in `gone`. Says how many bytes are free now.
    fn rewrite(&self, number: u32, gone: &HashSet<LetterId>) -> io::Result<u64> {
        let (file, aside) = (self.path.join(file_name(number)), self.path.join(ASIDE));
        let Some(mut lines) = Lines::open(&self.path, number)? else { return Ok(0) };
        let before = fs::metadata(&file)?.len();
        let mut kept = BufWriter::new(durable::create(&aside)?);
        // What is left of packs: their letters stay packed.
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
