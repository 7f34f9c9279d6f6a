//! Discards the oldest file of a source's letters to make room: first a file whose letters are all replayed or dropped.

use std::{fmt, fs, io, path::Path};

use super::{
    archive::{Lines, sorted_numbers},
    filter::State,
    folder::file_name,
    journal::Repairs,
    stored::StoredLetter,
};
use crate::durable;

/// The discarded letters that were neither replayed nor dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Discarded {
    pub(super) letters: u64,
    /// When the oldest and the newest of them were received; empty if there are none.
    pub(super) first_received: String,
    pub(super) last_received: String,
}

impl Discarded {
    pub(super) fn add(&mut self, other: Self) {
        if self.letters == 0 {
            *self = other;
        } else if other.letters > 0 {
            self.letters += other.letters;
            self.first_received = std::mem::take(&mut self.first_received).min(other.first_received);
            self.last_received = std::mem::take(&mut self.last_received).max(other.last_received);
        }
    }
}

impl fmt::Display for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dead letters of {} to {}", self.letters, self.first_received, self.last_received)
    }
}

/// The number of the file in `folder` to discard next. `None` if no file has letters.
pub(super) fn next_file(folder: &Path) -> io::Result<Option<u32>> {
    let mut numbers = sorted_numbers(folder)?;
    numbers.retain(|number| fs::metadata(folder.join(file_name(*number))).is_ok_and(|file| file.len() > 0));
    let repairs = Repairs::read(folder)?;
    if !repairs.is_empty() {
        for number in &numbers {
            if is_settled(folder, *number, &repairs)? {
                return Ok(Some(*number));
            }
        }
    }
    Ok(numbers.first().copied())
}

fn is_settled(folder: &Path, number: u32, repairs: &Repairs) -> io::Result<bool> {
    let Some(mut lines) = Lines::open(folder, number)? else { return Ok(false) };
    while let Some(line) = lines.next()? {
        if repairs.state(line) == State::Open {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a file, to which nothing is written any more.
pub(super) fn discard(folder: &Path, number: u32) -> io::Result<Discarded> {
    let (repairs, mut discarded) = (Repairs::read(folder)?, Discarded::default());
    if let Some(mut lines) = Lines::open(folder, number)? {
        while let Some(line) = lines.next()? {
            let Ok(letter) = StoredLetter::parse(line) else { continue };
            if repairs.state(line) == State::Open {
                let received = letter.received_datetime.into_owned();
                discarded.add(Discarded { letters: 1, first_received: received.clone(), last_received: received });
            }
        }
    }
    fs::remove_file(folder.join(file_name(number)))?;
    durable::sync_folder(folder)?;
    Ok(discarded)
}
