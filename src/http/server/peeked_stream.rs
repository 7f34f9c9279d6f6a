//! A connection whose first bytes were read ahead, to detect HTTP/1 or HTTP/2. Readers still get these bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How an HTTP/2 client begins (RFC 9113, section 3.4).
pub(super) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes were read ahead.
#[derive(Debug)]
pub(super) struct PeekedStream<S> {
    inner: S,
    /// The bytes that were read ahead, and that the reader has not taken yet.
    first: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PeekedStream<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, first: BytesMut::new() }
    }

    /// Reads until the client has sent a byte or closed its side.
    pub(super) async fn begins(&mut self) -> io::Result<()> {
        self.first.reserve(H2_PREFACE.len());
        (&mut self.inner).take(H2_PREFACE.len() as u64).read_buf(&mut self.first).await.map(drop)
    }

    /// Reads until the HTTP version is clear. Returns whether it is HTTP/2. If cancelled, [`PeekedStream::first`] has the bytes
    /// read.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        self.first.reserve(H2_PREFACE.len());
        while self.first.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.first) {
            let left = H2_PREFACE.len() - self.first.len();
            if (&mut self.inner).take(left as u64).read_buf(&mut self.first).await? == 0 {
                return Ok(false);
            }
        }
        Ok(self.first == H2_PREFACE)
    }

    /// The bytes that arrived before the HTTP version was clear.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PeekedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, into);
        }
        let length = self.first.len().min(into.remaining());
        into.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PeekedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Whether `bytes`, sent one by one, begin HTTP/2. All of them must be readable afterwards.
    async fn is_http2(bytes: &[u8]) -> bool {
        let (mut client, server) = tokio::io::duplex(1);
        let sent = bytes.to_vec();
        tokio::spawn(async move { client.write_all(&sent).await });
        let mut stream = PeekedStream::new(server);
        let is_http2 = stream.is_http2().await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        is_http2
    }

    #[tokio::test]
    async fn the_first_bytes_say_which_http_it_is_and_are_not_lost() {
        assert!(is_http2(&[H2_PREFACE, b"more"].concat()).await);
        assert!(is_http2(H2_PREFACE).await);
        for other in [b"POST / HTTP/1.1\r\n\r\n".as_slice(), b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", b"P", b""] {
            assert!(!is_http2(other).await, "{other:?}");
        }
    }
}
