//! A request that sends events, why it may be refused as a whole, and the fate of one event.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    auth::Source,
    body_budget::{BodyShare, BudgetUsedUp},
    config::{Answers, Durability},
    decode::{BodyError, BodyForm, Encoding, InflateError},
    outcome::Outcome,
    rate_limit::{Payers, RateExceeded},
    work_pool::NoTurn,
};

/// An authorized request with its body.
#[derive(Debug)]
pub struct Submission {
    /// The body as received.
    pub body: Bytes,
    /// The encoding of the body: see [`Encoding::of_body`].
    pub encoding: Encoding,
    /// The form of the body.
    pub form: BodyForm,
    /// The name of the key.
    pub source: Arc<str>,
    /// The key, and its permissions.
    pub sender: Arc<Source>,
    /// The buckets from which its bytes and events are taken.
    pub payers: Payers,
    /// The memory that the request holds.
    pub memory: BodyShare,
    /// The address of the client, in the form that is kept.
    pub client_address: Option<String>,
    /// When the request was received, Unix milliseconds.
    pub received_millis: i64,
    /// When its events count as accepted.
    pub durability: Durability,
    /// What its sender reads of the answer.
    pub answers: Answers,
}

impl Submission {
    /// Whether old dead letters may be discarded so that its own can be stored: a bad event that cannot be kept holds up the
    /// good ones of a request that is answered as a whole.
    pub(super) fn may_discard_letters(&self) -> bool {
        self.answers == Answers::Whole
    }
}

/// Why a request was refused as a whole. Nothing was stored, and no event has an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// The body cannot be inflated.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// The body cannot be split into events.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The key or the address may send no more for now.
    #[error(transparent)]
    Rate(#[from] RateExceeded),
    /// There is not enough memory for the body, or for the inflated body.
    #[error(transparent)]
    Memory(#[from] BudgetUsedUp),
    /// Too many large requests are waiting already.
    #[error(transparent)]
    Turn(#[from] NoTurn),
}

/// The result for one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// The identity as the client wrote it, if readable. `None` for accepted events, because the answer does not list them.
    pub event_uuid: Option<String>,
    /// The outcome.
    pub outcome: Outcome,
}
