//! An event from the dead letters, and its original sender.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    auth::{EventNames, Source},
    event::CreatedDays,
};

/// An event to replay.
#[derive(Debug, Clone, Copy)]
pub struct ReplayedEvent<'a> {
    /// The bytes of the event.
    pub raw: &'a [u8],
    /// When the event was received, Unix milliseconds.
    pub received_millis: i64,
    /// Set if the sink refused the event after it had been accepted.
    pub refused: Option<Refused<'a>>,
}

/// The dead letter of an event that the sink refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The name of the dead letter.
    pub letter: Uuid,
    /// The sink that refused it, if there are several: the others have it, and do not get it again.
    pub sink: Option<&'a str>,
    /// The identity of the event. If a patch changes the identity, the event is claimed like any other event.
    pub event_uuid: Uuid,
}

/// The original sender.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The name of the key.
    pub source: &'a Arc<str>,
    /// The events that the key may send.
    pub events: &'a EventNames,
    /// Whether identities are scoped by the source, as for browser keys. A key that is no longer configured counts as a server
    /// key; a disabled key keeps its kind.
    pub is_scoped: bool,
    /// How many days from its receipt an event may have been created without being late. Uses the current setting of the key,
    /// and the time at which the event was first received.
    pub created_days: CreatedDays,
}

impl<'a> Sender<'a> {
    /// The sender of the events of `source`, looked up in `keys`.
    #[must_use]
    pub fn of(source: &'a Arc<str>, keys: &'a [Arc<Source>], any: &'a EventNames) -> Self {
        match keys.iter().find(|key| key.name == *source) {
            Some(key) => Self { source, events: &key.events, is_scoped: key.is_public(), created_days: key.created_days },
            None => Self { source, events: any, is_scoped: false, created_days: CreatedDays::WIDEST },
        }
    }
}
