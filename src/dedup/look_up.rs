//! What the window knows of an identity, for who asks where its event is. Nothing is claimed.

/// The position of an event in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The event has this sequence number in the spool that is in use, certainly.
    At(u64),
    /// The event has a smaller sequence number, if it is in this spool at all: it may be of a spool that was replaced, or of a
    /// history of this spool that a restored backup ended.
    Before(u64),
}

/// What the window knows of an accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownIdentity {
    /// Where the event is in the spool. Of an event that the disk lost and that was stored again, the place of the newer copy,
    /// unless the window had no room to learn it.
    pub place: Place,
    /// The identity was confirmed at this time or later, in Unix milliseconds of confirmed time ([`crate::clock`]). Confirmed
    /// time stands still while no gateway runs, so the wall clock showed this time or a later one.
    pub oldest_millis: i64,
    /// The identity was confirmed at this time or earlier, likewise. The wall clock was ahead by at most what it is ahead of
    /// [`Window::clock`](super::Window::clock) now.
    pub newest_millis: i64,
}

/// The answer of [`Window::look_up`](super::Window::look_up) for one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// The event was accepted.
    Known(KnownIdentity),
    /// The identity is claimed, and neither confirmed nor released: its event is being stored at the moment.
    InFlight,
    /// The window knows nothing of the identity. It would, if the event had been accepted since
    /// [`Window::known_since_millis`](super::Window::known_since_millis).
    Unknown,
    /// Nothing that can be read knows the identity, but what cannot be read may.
    CannotTell(Doubt),
}

/// Why the window cannot tell whether it knows an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A page that may hold the identity cannot be read at the moment. It is tried again: ask later.
    PageUnreadable,
    /// A page that may hold the identity is damaged, or could not be read for too long.
    PageDamaged,
    /// Runs were set aside because they are damaged (`dedup/*.damaged`). They may hold the identity.
    RunsSetAside,
}
