//! Reading a request's body: under a cap, within a time, and within what all requests together may hold.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::{Problem, ProblemCode};
use crate::{
    limits::{BODIES_IN_FLIGHT_BYTES_MAX, BODY_BYTES_MAX, BODY_READ_TIMEOUT, DRAIN_BODY_TIMEOUT, INFLATED_BYTES_MAX},
    telemetry::Metrics,
};

/// What all request bodies together may hold in memory.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    bytes: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A share of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct BodyShare {
    permit: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

impl BodyBudget {
    /// The whole budget, free.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { bytes: Arc::new(Semaphore::new(BODIES_IN_FLIGHT_BYTES_MAX)), metrics }
    }

    /// Nothing of the budget yet.
    #[must_use]
    pub fn share(&self) -> BodyShare {
        BodyShare { permit: None, metrics: self.metrics.clone() }
    }

    /// Adds `bytes` to `share`.
    ///
    /// # Errors
    /// [`ProblemCode::Busy`] where the budget is used up.
    pub fn take(&self, share: &mut BodyShare, bytes: usize) -> Result<(), Problem> {
        let busy = || Problem::new(ProblemCode::Busy, "the gateway holds as many request bodies as it can");
        let permits = u32::try_from(bytes).map_err(|_| busy())?;
        let more = self.bytes.clone().try_acquire_many_owned(permits).map_err(|_| busy())?;
        match &mut share.permit {
            Some(permit) => permit.merge(more),
            None => share.permit = Some(more),
        }
        self.metrics.bodies_in_flight_bytes.inc_by(i64::from(permits));
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let bytes = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.metrics.bodies_in_flight_bytes.dec_by(bytes as i64);
    }
}

/// Reads `body` whole.
///
/// # Errors
/// Too large, too slow, broken off, or no room for it.
pub(super) async fn read(mut body: Body, budget: &BodyBudget, share: &mut BodyShare) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + BODY_READ_TIMEOUT;
    let mut whole = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", BODY_READ_TIMEOUT.as_secs());
                return Err(Problem::new(ProblemCode::RequestTimeout, detail));
            }
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::new(ProblemCode::UnreadableJson, "the body broke off before its end")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if let Err(problem) = budget.take(share, data.len()) {
            drain(body).await;
            return Err(problem);
        }
        if whole.len() + only.as_ref().map_or(0, Bytes::len) + data.len() > BODY_BYTES_MAX {
            drain(body).await;
            return Err(too_large());
        }
        // Most bodies come in one piece, which is then not copied.
        match only.take() {
            None if whole.is_empty() => only = Some(data),
            first => {
                whole.extend_from_slice(first.as_deref().unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(only.unwrap_or_else(|| whole.freeze()))
}

/// Reads on for a moment without keeping anything, so that a client which is still sending reads the answer instead of
/// a reset connection. Some HTTP/2 clients (curl 7.88) lose the answer where the stream is reset after it, so a body that
/// is only somewhat too large is read to its end.
pub(super) async fn drain(mut body: Body) {
    let deadline = Instant::now() + DRAIN_BODY_TIMEOUT;
    let mut left = INFLATED_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// The problem of a body that is too large.
#[must_use]
pub(super) fn too_large() -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes; send several requests"))
}
