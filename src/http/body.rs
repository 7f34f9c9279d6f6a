//! Reads the body of a request. A size limit, a timeout, and the limit of all requests together (`body_budget.rs`) apply.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::problem::{Problem, ProblemCode};
use crate::{
    body_budget::BodyShare,
    limits::{BODY_BYTES_MAX, BODY_READ_TIMEOUT, DRAIN_BODY_TIMEOUT, INFLATED_BYTES_MAX},
};

/// Reads the whole `body`.
///
/// # Errors
/// The body is too large, too slow, or incomplete, or the memory for it is not available.
pub(super) async fn read(mut body: Body, share: &mut BodyShare) -> Result<Bytes, Problem> {
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
        if let Err(used_up) = share.take(data.len()) {
            drain(body).await;
            return Err(used_up.into());
        }
        if whole.len() + only.as_ref().map_or(0, Bytes::len) + data.len() > BODY_BYTES_MAX {
            drain(body).await;
            return Err(too_large());
        }
        // Most bodies arrive in one piece, which is not copied.
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

/// Reads and discards the body for a short time, so that a client that is still sending reads the answer instead of a
/// connection reset. Some HTTP/2 clients (curl 7.88) lose the answer if the stream is reset after the answer, so a body that is
/// only slightly too large is read to its end.
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

/// The problem for a body that is too large.
#[must_use]
pub(super) fn too_large() -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes; send several requests"))
}
