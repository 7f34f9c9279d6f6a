//! A request that sends events, why it may be refused as a whole, and the fate of one event.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    auth::Source,
    body_budget::{BodyShare, BudgetUsedUp},
    decode::{BodyError, BodyForm, Encoding, InflateError},
    outcome::Outcome,
    rate_limit::{Payers, RateExceeded},
    work_pool::NoTurn,
};

/// When an event counts as taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on the gateway's disk.
    #[default]
    Disk,
    /// Once the sink confirmed it.
    Delivered,
}

/// A request that may send, and what it sent.
#[derive(Debug)]
pub struct Submission {
    /// The body as received.
    pub body: Bytes,
    /// How it is encoded: see [`Encoding::of_body`].
    pub encoding: Encoding,
    /// The form of the body.
    pub form: BodyForm,
    /// Name of the key.
    pub source: Arc<str>,
    /// The key, and what it may send.
    pub sender: Arc<Source>,
    /// From whose buckets its bytes and events are taken.
    pub payers: Payers,
    /// The memory that it holds.
    pub memory: BodyShare,
    /// The address of the client, as far as it is kept.
    pub client_address: Option<String>,
    /// When it was received, Unix milliseconds.
    pub received_millis: i64,
    /// When its events count as taken.
    pub durability: Durability,
}

/// Why a request was refused as a whole: nothing of it was stored, and no event has an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// It does not inflate.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// Its events cannot be told apart.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its key, or its address, may send no more for now.
    #[error(transparent)]
    Rate(#[from] RateExceeded),
    /// There is not enough memory for the body, or for the inflated body.
    #[error(transparent)]
    Memory(#[from] BudgetUsedUp),
    /// Too many large requests wait already.
    #[error(transparent)]
    Turn(#[from] NoTurn),
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// Its identity as the client wrote it, if it was readable. `None` for accepted events, because the answer does not list
    /// them.
    pub event_uuid: Option<String>,
    /// Its outcome.
    pub outcome: Outcome,
}
