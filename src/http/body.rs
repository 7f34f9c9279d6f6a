//! Reads the body of a request. A size limit, a timeout, and the limit of all requests together (`body_budget.rs`) apply.

use std::time::Duration;

use axum::{body::HttpBody, http::Version};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::problem::{Problem, ProblemCode};
use crate::{
    body_budget::BodyShare,
    limits::{
        BODY_BYTES_MAX, BODY_READ_TIMEOUT, DRAIN_BODY_TIMEOUT, INFLATED_BYTES_MAX, REFUSED_BODY_BYTES_MAX,
        REFUSED_BODY_PAUSE_MAX, REFUSED_BODY_TIMEOUT,
    },
};

/// The body of a request: as it comes from the connection, or boxed.
pub(super) trait RequestBody: HttpBody<Data = Bytes> + Send + Unpin + 'static {}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> RequestBody for B {}

/// Reads the whole `body`.
///
/// # Errors
/// The body is too large, too slow, or incomplete, or the memory for it is not available.
pub(super) async fn read<B: RequestBody>(mut body: B, version: Version, share: &mut BodyShare) -> Result<Bytes, Problem> {
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
            discard(body, version).await;
            return Err(used_up.into());
        }
        if whole.len() + only.as_ref().map_or(0, Bytes::len) + data.len() > BODY_BYTES_MAX {
            discard(body, version).await;
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

/// Reads and discards the rest of a refused body, so that a client that is still sending reads the answer instead of a
/// connection reset.
///
/// Before the answer, only a body that may end soon: then the connection is kept. The rest of a longer body is read after the
/// answer: over HTTP/1 by the connection (`server/linger.rs`), over HTTP/2 by a task that keeps the stream open. Some HTTP/2
/// clients (curl 7.88) lose an answer if the stream is reset after it.
pub(super) async fn discard<B: RequestBody>(mut body: B, version: Version) {
    let may_end_soon = body.size_hint().lower() <= INFLATED_BYTES_MAX as u64;
    let is_read = may_end_soon && discard_some(&mut body, INFLATED_BYTES_MAX, DRAIN_BODY_TIMEOUT).await;
    if !is_read && version == Version::HTTP_2 {
        tokio::spawn(async move { discard_some(&mut body, REFUSED_BODY_BYTES_MAX, REFUSED_BODY_TIMEOUT).await });
    }
}

/// Discards up to `bytes_max` bytes of a body. Returns whether there is no more to read.
async fn discard_some<B: RequestBody>(body: &mut B, bytes_max: usize, time: Duration) -> bool {
    let end = Instant::now() + time;
    let mut left = bytes_max;
    while left > 0 {
        let pause_end = (Instant::now() + REFUSED_BODY_PAUSE_MAX).min(end);
        match timeout_at(pause_end, body.frame()).await {
            Ok(Some(Ok(frame))) => left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len)),
            Ok(None | Some(Err(_))) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// The problem for a body that is too large.
#[must_use]
pub(super) fn too_large() -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes; send several requests"))
}
