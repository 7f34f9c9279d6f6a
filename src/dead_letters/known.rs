//! The letters of the last day, in memory, so that an event that is rejected again makes no second letter.
//!
//! Before the letter of an event is written, the event is claimed ([`Claims`]), like an identity in the dedup window. Who finds
//! it claimed makes no letter, waits until the first letter is durable, and has the repetition counted on it ([`Repeat`]). If the
//! first letter cannot be stored, nobody's event is rejected. Claims that are dropped are released.
//!
//! The same event is: the same bytes, from the same source, and the same kind of letter. An event whose letter was replayed or
//! dropped, or lay in a file that was removed, is forgotten and makes a new letter; so is one that was forgotten because there
//! were too many.

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{error::DeadLetterError, letter::Letter, stored::LetterId};
use crate::{
    bounded_map::BoundedMap,
    limits::{KNOWN_LETTERS_MAX, REPEAT_MILLIS_MAX},
    outcome::RejectCode,
};

/// Names an event that has a letter: a hash of its source, its bytes and the kind of its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeptEvent([u8; 16]);

impl KeptEvent {
    /// The event of a letter, given the hash of its bytes. `None` for an event that the sink refused: the dedup window knows it,
    /// and each of its letters stands for one more attempt to deliver it.
    pub(super) fn of(code: &str, source: &str, event_sha256: &[u8]) -> Option<Self> {
        let kind: &[u8] = match code {
            code if code == RejectCode::RefusedBySink.as_str() => return None,
            // Such an event may also be rejected, with other letters, once its schema has changed.
            code if code == RejectCode::ConflictingDuplicate.as_str() => b"conflict/",
            _ => b"rejected/",
        };
        let hash = Sha256::new().chain_update(event_sha256).chain_update(kind).chain_update(source).finalize();
        let mut event = [0; 16];
        event.copy_from_slice(&hash[..16]);
        Some(Self(event))
    }
}

impl fmt::Display for KeptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LetterId::from(self.0).fmt(f)
    }
}

impl FromStr for KeptEvent {
    type Err = super::stored::UnreadableLetter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<LetterId>().map(|id| Self(id.into()))
    }
}

/// Where letters are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file with this number, which has at least `end` bytes as long as they are there.
    File { number: u32, end: u64 },
    /// In the spool of their stream.
    Stream,
}

/// The fate of letters that are stored together: those of one request.
#[derive(Debug)]
pub(super) struct Keeping {
    folder: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Pending(Vec<oneshot::Sender<Result<(), DeadLetterError>>>),
    Kept(Place),
    Failed(DeadLetterError),
}

impl Keeping {
    /// Letters that are durable already.
    pub(super) fn kept_at(folder: Arc<str>, place: Place) -> Arc<Self> {
        Arc::new(Self { folder, state: Mutex::new(State::Kept(place)) })
    }

    /// The folder of the letters.
    pub(super) fn folder(&self) -> &Arc<str> {
        &self.folder
    }

    /// Where the letters are, if they are durable.
    pub(super) fn place(&self) -> Option<Place> {
        match *self.lock() {
            State::Kept(place) => Some(place),
            State::Pending(_) | State::Failed(_) => None,
        }
    }

    /// Waits until the letters are durable, or cannot be stored.
    pub(super) async fn kept(&self) -> Result<(), DeadLetterError> {
        let result = match &mut *self.lock() {
            State::Kept(_) => return Ok(()),
            State::Failed(error) => return Err(*error),
            State::Pending(waiting) => {
                let (sender, result) = oneshot::channel();
                waiting.push(sender);
                result
            }
        };
        result.await.unwrap_or(Err(DeadLetterError::Unsettled))
    }

    fn settle(&self, result: Result<Place, DeadLetterError>) {
        let settled = result.map_or_else(State::Failed, State::Kept);
        if let State::Pending(waiting) = std::mem::replace(&mut *self.lock(), settled) {
            for waiting in waiting {
                // A request that no longer waits needs no result.
                let _ = waiting.send(result.map(|_| ()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often an event was rejected again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) times: u64,
    pub(super) last_millis: i64,
}

/// A known letter.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) keeping: Arc<Keeping>,
    /// `None` until its line is written.
    pub(super) letter: Option<LetterId>,
    pub(super) received_millis: i64,
    pub(super) repeats: Repeats,
}

/// See the module.
#[derive(Debug)]
pub struct KnownLetters(Mutex<BoundedMap<KeptEvent, Known>>);

impl Default for KnownLetters {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::new(KNOWN_LETTERS_MAX)))
    }
}

impl KnownLetters {
    /// Adds a letter that is durable already.
    pub(super) fn add(&self, event: KeptEvent, known: Known) {
        self.lock().insert(event, known);
    }

    /// Counts one more repetition on the letter that `repeat` found. `None` if it was forgotten meanwhile.
    pub(super) fn count(&self, repeat: &Repeat, received_millis: i64) -> Option<Known> {
        let mut letters = self.lock();
        let known = letters.get_mut(&repeat.event).filter(|known| Arc::ptr_eq(&known.keeping, &repeat.keeping))?;
        known.repeats.times += 1;
        known.repeats.last_millis = known.repeats.last_millis.max(received_millis);
        Some(known.clone())
    }

    /// Forgets letters that were replayed or dropped.
    pub fn forget(&self, letters: &HashSet<LetterId>) {
        if !letters.is_empty() {
            self.lock().retain(|known| !known.letter.is_some_and(|letter| letters.contains(&letter)));
        }
    }

    /// Forgets the letters in a file that is gone.
    pub(super) fn forget_file(&self, folder: &str, gone: u32) {
        let is_in = |place| matches!(place, Some(Place::File { number, .. }) if number == gone);
        self.lock().retain(|known| **known.keeping.folder() != *folder || !is_in(known.keeping.place()));
    }

    /// The letters of this file were moved within it: only that the file is there tells of them.
    pub(super) fn moved_within(&self, folder: &str, moved: u32) {
        for known in self.lock().values().filter(|known| **known.keeping.folder() == *folder) {
            if let State::Kept(Place::File { number, end }) = &mut *known.keeping.lock()
                && *number == moved
            {
                *end = 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<KeptEvent, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event that has a letter already, or whose letter is just being stored.
#[derive(Debug)]
pub struct Repeat {
    pub(super) event: KeptEvent,
    pub(super) keeping: Arc<Keeping>,
}

/// The events of one request whose first letters the request stores. Dropped, they are released.
#[derive(Debug, Default)]
pub struct Claims(Option<Box<Claimed>>);

#[derive(Debug)]
struct Claimed {
    letters: Arc<KnownLetters>,
    keeping: Arc<Keeping>,
    events: Vec<KeptEvent>,
    /// Those whose lines were thrown away: see [`Claims::begin_again`].
    unwritten: HashSet<KeptEvent>,
}

impl Claims {
    /// Claims the event of `letter`, unless it has a letter of the last day.
    pub(super) fn claim(&mut self, letters: &Arc<KnownLetters>, letter: &Letter<'_>, event: KeptEvent) -> Option<Repeat> {
        let mut known = letters.lock();
        let is_recent = |known: &&Known| known.received_millis.abs_diff(letter.received_millis) < REPEAT_MILLIS_MAX;
        if let Some(known) = known.get(&event).filter(is_recent) {
            let is_unwritten = |claimed: &mut Box<Claimed>| claimed.is_own(known) && claimed.unwritten.remove(&event);
            let is_unwritten = self.0.as_mut().is_some_and(is_unwritten);
            return (!is_unwritten).then(|| Repeat { event, keeping: known.keeping.clone() });
        }
        let claimed = self.0.get_or_insert_with(|| {
            let keeping = Keeping { folder: letter.source.into(), state: Mutex::new(State::Pending(Vec::new())) };
            let (letters, keeping) = (letters.clone(), Arc::new(keeping));
            Box::new(Claimed { letters, keeping, events: Vec::new(), unwritten: HashSet::new() })
        });
        claimed.events.push(event);
        let (keeping, received_millis) = (claimed.keeping.clone(), letter.received_millis);
        known.insert(event, Known { keeping, letter: None, received_millis, repeats: Repeats::default() });
        None
    }

    /// The lines of the letters were thrown away, and the request is validated again. Its events stay claimed meanwhile, so that
    /// others which found them do not have to send again.
    pub(super) fn begin_again(&mut self) {
        if let Some(claimed) = &mut self.0 {
            claimed.unwritten = claimed.events.iter().copied().collect();
        }
    }

    /// Names the letter of an event that was just claimed.
    pub(super) fn name(&self, event: KeptEvent, letter: LetterId) {
        let Some(claimed) = &self.0 else { return };
        if let Some(known) = claimed.letters.lock().get_mut(&event).filter(|known| claimed.is_own(known)) {
            known.letter = Some(letter);
        }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |claimed| claimed.events.capacity() * size_of::<KeptEvent>())
    }

    /// The letters are durable at `place`. Returns them.
    pub(super) fn settle(mut self, place: Place) -> Vec<(KeptEvent, Known)> {
        let Some(claimed) = self.0.take() else { return Vec::new() };
        // Events that turned out to be valid have no letter.
        claimed.forget(claimed.unwritten.iter());
        claimed.keeping.settle(Ok(place));
        if place != Place::Stream {
            return Vec::new();
        }
        let known = claimed.letters.lock();
        let own = claimed.events.iter().filter_map(|event| Some((*event, known.get(event)?.clone())));
        own.filter(|(_, known)| claimed.is_own(known)).collect()
    }

    /// The letters cannot be stored: the next one of these events makes a letter.
    pub(super) fn fail(mut self, error: DeadLetterError) {
        self.release(error);
    }

    fn release(&mut self, error: DeadLetterError) {
        let Some(claimed) = self.0.take() else { return };
        claimed.forget(claimed.events.iter());
        claimed.keeping.settle(Err(error));
    }
}

impl Claimed {
    fn forget<'a>(&self, events: impl Iterator<Item = &'a KeptEvent>) {
        let mut known = self.letters.lock();
        for event in events {
            if known.get(event).is_some_and(|known| self.is_own(known)) {
                known.remove(event);
            }
        }
    }

    fn is_own(&self, known: &Known) -> bool {
        Arc::ptr_eq(&known.keeping, &self.keeping)
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.release(DeadLetterError::Unsettled);
    }
}
