//! Checks where the requests of an HTTP/1 connection begin and end, strictly by RFC 9112, before hyper reads a byte.
//!
//! If a server and a proxy disagree on where a request ends, one client gets the answer of another. hyper accepts what other
//! servers reject: a line that ends without CR; a request with two lengths, two hosts or no host; a coding that is applied
//! twice; and after `0\r\n\n` hyper reads the next request as a trailer. This check looks at line ends and three headers, and
//! leaves the rest to hyper. It costs a few hundred instructions per head, and none per byte of a body.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use memchr::{memchr, memchr3};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that passes only well-framed bytes to hyper. Instead of the first wrong byte, hyper reads [`REFUSED`] and then the
/// end of the stream. So hyper answers the earlier requests, refuses this one, and closes the connection.
pub(super) struct Strict<S> {
    inner: S,
    framing: Framing,
    /// The rest of [`REFUSED`] that is still to be read; `None` while the framing is correct.
    refusal: Option<&'static [u8]>,
}

/// Bytes that hyper refuses anywhere in a head or in the frame of a chunk: a CR without LF. The end of a head is included,
/// because hyper checks a head that arrives in pieces only after it has found an end.
const REFUSED: &[u8] = b"\r\0\r\n\r\n";

impl<S> Strict<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, framing: Framing::default(), refusal: None }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether a head has begun and not ended. Empty lines before a head do not begin it (RFC 9112, section 2.2).
    pub(super) fn has_head_begun(&self) -> bool {
        matches!(self.framing.next, Next::Head) && (self.framing.head.has_begun || has_begun(&self.framing.line))
    }

    /// Whether a body has begun and not ended.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.framing.next, Next::Head)
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_none() {
            let before = into.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
            let Err(wrong) = self.framing.check(&into.filled()[before..]) else { return Poll::Ready(Ok(())) };
            into.set_filled(before + wrong);
        }
        let refusal = self.refusal.unwrap_or(REFUSED);
        let (now, later) = refusal.split_at(refusal.len().min(into.remaining()));
        into.put_slice(now);
        self.refusal = Some(later);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Whether `bytes` begin the head of a request.
pub(super) fn has_begun(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

/// The state of the framing: what comes next on the connection.
#[derive(Default)]
struct Framing {
    next: Next,
    /// The head that is being read.
    head: Head,
    /// The current line, if it began in an earlier piece. hyper bounds it, because it limits the bytes of a head.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Next {
    /// A line of a head.
    #[default]
    Head,
    /// This many bytes of a body.
    Body(u64),
    /// The line with the size of a chunk.
    Size,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// A line of the trailers.
    Trailer,
}

/// What has been read of a head.
#[derive(Default)]
struct Head {
    has_begun: bool,
    needs_host: bool,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// The framing is wrong.
struct Wrong;

impl Framing {
    /// Checks the next bytes of the connection.
    ///
    /// # Errors
    /// The position of the first error: the end of its line.
    fn check(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.next {
                Next::Body(left) | Next::Chunk(left) => {
                    let taken = (*left).min((bytes.len() - at) as u64);
                    *left -= taken;
                    at += taken as usize;
                    if *left == 0 {
                        self.next = if matches!(self.next, Next::Chunk(_)) { Next::ChunkEnd } else { Next::Head };
                    }
                }
                Next::Head | Next::Size | Next::ChunkEnd | Next::Trailer => {
                    let rest = &bytes[at..];
                    let Some(end) = memchr(b'\n', rest) else {
                        self.line.extend_from_slice(rest);
                        return Ok(());
                    };
                    at += end;
                    let next = if self.line.is_empty() {
                        self.line_ends(&rest[..end])
                    } else {
                        let mut line = std::mem::take(&mut self.line);
                        line.extend_from_slice(&rest[..end]);
                        self.line_ends(&line)
                    };
                    self.next = next.map_err(|Wrong| at)?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// What follows `line`, which is passed without its LF.
    fn line_ends(&mut self, line: &[u8]) -> Result<Next, Wrong> {
        let line = line.strip_suffix(b"\r").ok_or(Wrong)?;
        match self.next {
            Next::Head if line.is_empty() => std::mem::take(&mut self.head).ends(),
            Next::Head => self.head.line(line).map(|()| Next::Head),
            Next::Size => Ok(match size(line)? {
                0 => Next::Trailer,
                size => Next::Chunk(size),
            }),
            Next::Trailer if line.is_empty() => Ok(Next::Head),
            Next::Trailer => match memchr(b':', line) {
                Some(name @ 1..) if line[..name].iter().all(u8::is_ascii_graphic) => Ok(Next::Trailer),
                _ => Err(Wrong),
            },
            Next::ChunkEnd if line.is_empty() => Ok(Next::Size),
            Next::ChunkEnd | Next::Body(_) | Next::Chunk(_) => Err(Wrong),
        }
    }
}

impl Head {
    fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if !self.has_begun {
            self.has_begun = true;
            self.needs_host = line.ends_with(b"HTTP/1.1");
            return Ok(());
        }
        match line[0] {
            // A folded line, which continues the line before it.
            b' ' | b'\t' => Err(Wrong),
            b'h' | b'H' => match value(line, b"host:") {
                // Exactly one host: no list, and no user name before it.
                Some(host) if self.has_host || memchr3(b',', b' ', b'@', host).is_some() => Err(Wrong),
                Some(_) => {
                    self.has_host = true;
                    Ok(())
                }
                None => Ok(()),
            },
            b'c' | b'C' => match value(line, b"content-length:") {
                Some(_) if self.length.is_some() => Err(Wrong),
                Some(length) => {
                    self.length = Some(decimal(length)?);
                    Ok(())
                }
                None => Ok(()),
            },
            b't' | b'T' => match value(line, b"transfer-encoding:") {
                Some(coding) if self.is_chunked || !coding.eq_ignore_ascii_case(b"chunked") => Err(Wrong),
                Some(_) => {
                    self.is_chunked = true;
                    Ok(())
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// What follows the head.
    fn ends(self) -> Result<Next, Wrong> {
        if self.needs_host && !self.has_host || self.is_chunked && self.length.is_some() {
            return Err(Wrong);
        }
        Ok(match self.length {
            _ if self.is_chunked => Next::Size,
            None | Some(0) => Next::Head,
            Some(length) => Next::Body(length),
        })
    }
}

/// The value of the header `name` (lower case, with its colon), if `line` is that header.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // Most lines that begin with the same letter have their colon elsewhere.
    if line.get(name.len() - 1) != Some(&b':') {
        return None;
    }
    let (found, value) = line.split_at_checked(name.len())?;
    (found == name || found.eq_ignore_ascii_case(name)).then(|| value.trim_ascii())
}

/// Parses digits only, at most 19, because 19 digits are always less than 2^64.
fn decimal(digits: &[u8]) -> Result<u64, Wrong> {
    if !(1..=19).contains(&digits.len()) {
        return Err(Wrong);
    }
    let add = |number: u64, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')).ok_or(Wrong);
    digits.iter().try_fold(0, add)
}

/// The size in the first line of a chunk; extensions may follow.
fn size(line: &[u8]) -> Result<u64, Wrong> {
    let digits = memchr3(b';', b' ', b'\t', line).map_or(line, |end| &line[..end]);
    let is_hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hexadecimal);
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "POST /v1/events HTTP/1.1\r\nHOST: x\r\n";

    /// Whether `text` is accepted whole and in pieces; otherwise the position of the error.
    fn taken(text: &str) -> Result<(), usize> {
        let whole = Framing::default().check(text.as_bytes());
        for length in [1, 2, 7] {
            let (mut framing, mut done) = (Framing::default(), 0);
            let pieces = text.as_bytes().chunks(length).try_for_each(|piece| {
                framing.check(piece).map_err(|at| done + at)?;
                done += piece.len();
                Ok(())
            });
            assert_eq!(pieces, whole, "{text:?} in pieces of {length}");
        }
        whole
    }

    #[test]
    fn what_honest_clients_send_is_taken() {
        for text in [
            "GET / HTTP/1.0\r\n\r\n",
            "\r\n\r\nGET /healthz HTTP/1.1\r\nhost:x\r\n\r\n",
            &format!("{HEAD}content-length: 0\r\n\r\n{HEAD}Content-Length:\t4 \r\n\r\na\n\nb{HEAD}\r\n"),
            &format!("{HEAD}Transfer-Encoding: Chunked\r\n\r\n1\r\n\n\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n{HEAD}\r\n"),
            &format!("{HEAD}transfer-encoding: chunked\r\n\r\n3 ;a\r\n\r\n\r\r\n0\r\nexpires: never\r\nx:\r\n\r\n{HEAD}\r\n"),
            &format!("{HEAD}cookie: a, b\r\nte: trailers\r\nhosts: a b\r\ncontent-lengthy: a\r\n\r\n"),
        ] {
            assert_eq!(taken(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn what_two_readers_could_frame_in_two_ways_is_not() {
        for rest in [
            "a: b\n\r\n",
            "\n",
            "a: b\r\n folded\r\n\r\n",
            "\tfolded\r\n\r\n",
            "host: x\r\n\r\n",
            "Host: y\r\n\r\n",
            "content-length: 2\r\ncontent-length: 2\r\n\r\n",
            "content-length: 2\r\nContent-Length: 3\r\n\r\n",
            "content-length: 2, 2\r\n\r\n",
            "content-length: +2\r\n\r\n",
            "content-length:\r\n\r\n",
            "content-length: 99999999999999999999\r\n\r\n",
            "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
            "transfer-encoding: chunked, chunked\r\n\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: gzip, chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\n{}0\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2;\n{}\r\n",
            "transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n-2\r\n",
            "transfer-encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\n\n",
            "transfer-encoding: chunked\r\n\r\n0\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\nPOST / HTTP/1.1\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\nGET http://x HTTP/1.1\r\n\r\n",
        ] {
            let text = format!("{HEAD}{rest}");
            assert!(taken(&text).is_err_and(|at| text.as_bytes()[at] == b'\n'), "{text:?}");
        }
        for text in ["\n", "\r\n\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: a, b\r\n"] {
            assert!(taken(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_pieces_change_nothing(text in "(\r\n|\n|[0-3a-c:; ]|host: x|transfer-encoding: chunked|HTTP/1.1){0,30}") {
            let _ = taken(&text);
            let _ = taken(&format!("{HEAD}{text}"));
            let _ = taken(&format!("{HEAD}transfer-encoding: chunked\r\n\r\n{text}"));
        }
    }
}
