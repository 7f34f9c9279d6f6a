//! The letters of the events that one request has rejected: lines for new ones, and repetitions of events that have a letter.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    known::{Claims, KeptEvent, KnownLetters, Repeat},
    letter::Letter,
    lines::Lines,
    pack::LetterLines,
};

/// See the module. Dropped, the events are released: another request may store their letters.
#[derive(Debug, Default)]
pub struct RequestLetters {
    lines: LetterLines,
    claims: Claims,
    repeats: Vec<Repeat>,
}

impl RequestLetters {
    /// Adds the letter of an event. Returns `true` if the event has a letter already: then it is only counted.
    pub fn add(&mut self, letter: &Letter<'_>, known: &Arc<KnownLetters>) -> bool {
        let Some(event) = KeptEvent::of(letter.rejection.code.as_str(), letter.source, &Sha256::digest(letter.raw)) else {
            self.lines.add(letter);
            return false;
        };
        if let Some(repeat) = self.claims.claim(known, letter, event) {
            self.repeats.push(repeat);
            return true;
        }
        let id = self.lines.add(letter);
        self.claims.name(event, id);
        false
    }

    /// Throws the lines away, because the request is validated again. Its events stay claimed.
    #[must_use]
    pub fn begin_again(mut self) -> Self {
        self.claims.begin_again();
        Self { claims: self.claims, ..Self::default() }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.lines.memory_bytes() + self.claims.memory_bytes() + self.repeats.capacity() * size_of::<Repeat>()
    }

    /// The new letters of a request with `received_bytes` received bytes, if any, and the repetitions in the order of the
    /// events. See [`Lines::may_discard`].
    #[must_use]
    pub fn finish(self, source: &Arc<str>, received_bytes: usize, may_discard: bool) -> (Option<Lines>, Vec<Repeat>) {
        let lines = self.lines.finish(source, received_bytes);
        (lines.map(|lines| Lines { may_discard, claims: self.claims, ..lines }), self.repeats)
    }
}
