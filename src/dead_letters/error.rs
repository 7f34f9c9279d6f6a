//! The errors of storing letters.

/// Why letters were not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// The source is at its quota.
    #[error("the dead letters of this source are full")]
    Full,
    /// Too many letters are waiting to be written.
    #[error("too many dead letters are waiting to be written")]
    Busy,
    /// Another request was storing the letter of the same event, and gave up.
    #[error("another request gave up storing the dead letter of the same event")]
    Unsettled,
    /// Their stream does not have the letters yet, and answers wait for it.
    #[error("the dead letters are not delivered yet")]
    NotDelivered,
    /// Their stream takes nothing at the moment, and answers wait for it.
    #[error("the stream of the dead letters takes nothing at the moment")]
    StreamAway,
    /// The disk failed.
    #[error("the dead letters cannot be written")]
    Unavailable,
}
