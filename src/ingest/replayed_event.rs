//! An event out of the dead letters, and who had sent it.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    auth::{EventNames, Source},
    event::CreatedDays,
};

/// One event, once more.
#[derive(Debug, Clone, Copy)]
pub struct ReplayedEvent<'a> {
    /// Its bytes.
    pub raw: &'a [u8],
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// Whether the sink refused it after it had been accepted.
    pub refused: Option<Refused>,
}

/// A letter of an event that the sink refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The letter's name.
    pub letter: Uuid,
    /// The event's identity. One that a patch gives another is claimed as any other event.
    pub event_uuid: Uuid,
}

/// Who had sent it.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Name of the key.
    pub source: &'a Arc<str>,
    /// What the key may send.
    pub events: &'a EventNames,
    /// Whether the identities hold within the scope of the source: those of a browser key. A key that is in no configuration
    /// any more counts as a server key; one that is switched off is still known for what it is.
    pub is_scoped: bool,
    /// How far from its receipt an event may have been created without being late. ValidatedBody by the key as it is now, and by the
    /// time at which the event was first received.
    pub created_days: CreatedDays,
}

impl<'a> Sender<'a> {
    /// Who sent the events of `source`, where these keys are known.
    #[must_use]
    pub fn of(source: &'a Arc<str>, keys: &'a [Arc<Source>], any: &'a EventNames) -> Self {
        match keys.iter().find(|key| key.name == *source) {
            Some(key) => Self { source, events: &key.events, is_scoped: key.is_public(), created_days: key.created_days },
            None => Self { source, events: any, is_scoped: false, created_days: CreatedDays::WIDEST },
        }
    }
}
