//! Stores the letters of a request, and waits until they are kept: on disk, or in their stream where every request waits for
//! delivery.

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{components::Ingest, delivery_admission::DeliveryAdmission};
use crate::dead_letters::{DeadLetterError, Lines, Repeat};

type Kept = Result<(), DeadLetterError>;

/// Letters that are being stored.
pub(super) struct LettersUnderway(Result<oneshot::Receiver<Kept>, DeadLetterError>);

impl Ingest {
    /// Begins to store letters.
    pub(super) fn begin_letters(&self, lines: Lines) -> LettersUnderway {
        let is_admitted = self.admission.as_ref().is_none_or(DeliveryAdmission::admits_letters);
        // Dropping the lines releases their events.
        LettersUnderway(if is_admitted { Ok(self.dead_letters.append(lines)) } else { Err(DeadLetterError::StreamAway) })
    }

    /// Waits until letters are kept. If they must be in their stream for that, until `until` at the latest.
    pub(super) async fn letters_kept(&self, letters: LettersUnderway, until: Instant) -> Kept {
        let kept = letters.0?;
        let kept = async { kept.await.unwrap_or(Err(DeadLetterError::Unavailable)) };
        match &self.admission {
            None => kept.await,
            Some(_) => timeout_at(until, kept).await.unwrap_or(Err(DeadLetterError::NotDelivered)),
        }
    }

    /// Counts events that have a letter already. One result each, in order.
    pub(super) async fn count_repeats(&self, repeats: Vec<Repeat>, received_millis: i64, until: Instant) -> Vec<Kept> {
        let count = repeats.len();
        if count == 0 {
            return Vec::new();
        }
        let counted = Box::pin(self.dead_letters.count_repeats(repeats, received_millis));
        match &self.admission {
            None => counted.await,
            Some(_) => timeout_at(until, counted).await.unwrap_or_else(|_| vec![Err(DeadLetterError::NotDelivered); count]),
        }
    }
}
