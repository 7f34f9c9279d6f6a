//! Sends an answer in pieces. HTTP/2 buffers each piece until the client takes it. With an answer in one piece it would hold
//! the whole answer for as long as the client likes. The next piece is made when the client is ready for it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::limits::H2_PIECE_BYTES;

/// A body whose frames are at most [`H2_PIECE_BYTES`] long.
pub(super) struct ChunkedBody {
    body: Body,
    /// The rest of the current frame.
    rest: Bytes,
}

impl ChunkedBody {
    pub(super) fn of(body: Body) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl hyper::body::Body for ChunkedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(H2_PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_and_says_its_size_all_the_way() {
        let whole: Vec<u8> = (0..=u8::MAX).cycle().take(2 * H2_PIECE_BYTES + 7).collect();
        let mut pieces = ChunkedBody::of(Body::from(whole.clone()));
        let (mut read, mut sizes) = (Vec::new(), Vec::new());
        while !pieces.is_end_stream() {
            assert_eq!(pieces.size_hint().exact(), Some((whole.len() - read.len()) as u64));
            let piece = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
            sizes.push(piece.len());
            read.extend_from_slice(&piece);
        }
        assert_eq!((sizes, read), (vec![H2_PIECE_BYTES, H2_PIECE_BYTES, 7], whole));
        assert!(ChunkedBody::of(Body::empty()).is_end_stream());
    }
}
