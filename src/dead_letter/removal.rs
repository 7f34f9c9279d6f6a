//! Taking letters out for good.
//!
//! The writer is asked to begin another file; from then on nobody appends to those before it, and they are looked through one
//! by one. That a letter is dropped stands in the journal, durably, before its file is written anew aside and renamed into
//! place; a file that holds nothing any more goes. So a crash leaves a letter in place or takes it out, and where it left the
//! line, the journal says that it is gone; the next removal takes it along.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use super::{
    archive::{Archive, Found, Lines, sorted_numbers},
    filter::{Filter, State},
    folder::file_name,
    groups::Groups,
    journal::{self, Done, RepairEntry, Repairs},
    stored::{LetterId, StoredLetter},
};

/// What was taken out.
#[derive(Debug, Default)]
pub struct Removed {
    /// The letters, in groups.
    pub groups: Groups,
    /// Bytes that they had.
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
                removal.rewrite(number, &gone)?;
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
            removed.bytes += line.len() as u64 + 1;
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

    /// Writes a file anew without the letters in `gone`.
    fn rewrite(&self, number: u32, gone: &HashSet<LetterId>) -> io::Result<()> {
        let (file, aside) = (self.path.join(file_name(number)), self.path.join(ASIDE));
        let Some(mut lines) = Lines::open(&self.path, number)? else { return Ok(()) };
        let mut kept = BufWriter::new(File::create(&aside)?);
        let mut is_empty = true;
        while let Some(line) = lines.next()? {
            if !gone.contains(&LetterId::of(line)) {
                kept.write_all(line)?;
                kept.write_all(b"\n")?;
                is_empty = false;
            }
        }
        kept.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        if is_empty {
            fs::remove_file(&aside)?;
            fs::remove_file(&file)?;
        } else {
            fs::rename(&aside, &file)?;
        }
        File::open(&self.path)?.sync_all()
    }
}
