//! The timeouts of an HTTP/1 connection: how long it may be idle, how long a head may take from its first byte, and how long
//! the client may take to read an answer.
//!
//! hyper has one timer for the first two, and none for the third. It asks [`HeadTimer`] for a timer when it begins to wait
//! for a head. [`HeadTimer`] never gives one; the time is measured here, where the bytes arrive. Each connection has one
//! timer, which requests do not reset: when it fires, it is set to the time that is left.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::rt::{Sleep as HyperSleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    activity::{Activity, Timeouts},
    framing::Strict,
};

/// A stream that fails when the time is up.
pub(super) struct WithTimeouts<S> {
    strict: Strict<S>,
    activity: Arc<Activity>,
    times: Timeouts,
    /// The start of the wait for the current head, and when its first byte was noticed.
    head: Option<(Instant, Instant)>,
    /// Fires when the time for a head is up, or earlier.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Set while the client does not keep up: fires when the time for an answer is up.
    answering: Option<Pin<Box<Sleep>>>,
    is_head_late: bool,
}

impl<S> WithTimeouts<S> {
    pub(super) fn new(strict: Strict<S>, activity: Arc<Activity>, times: Timeouts) -> Self {
        Self { strict, activity, times, head: None, waiting: None, answering: None, is_head_late: false }
    }

    /// Whether the time for a head, or for being idle, is up.
    pub(super) fn is_head_late(&self) -> bool {
        self.is_head_late
    }

    pub(super) fn into_inner(self) -> Strict<S> {
        self.strict
    }

    /// The deadline for a head; `None` while a request is open.
    fn deadline(&mut self) -> Option<Instant> {
        if self.activity.is_open() {
            return None;
        }
        let since = self.activity.idle_since();
        if !self.strict.has_head_begun() {
            return Some(since + self.times.idle);
        }
        let seen = match self.head {
            Some((awaited, seen)) if awaited == since => seen,
            _ => Instant::now(),
        };
        self.head = Some((since, seen));
        Some(seen + self.times.head)
    }

    fn poll_head_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if waiting.deadline() > deadline {
            waiting.as_mut().reset(deadline);
        }
        while waiting.as_mut().poll(context).is_ready() {
            if waiting.deadline() >= deadline {
                self.is_head_late = true;
                return Poll::Ready(());
            }
            waiting.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// The result of a write: a pending write fails when the time for the answer is up.
    fn in_time<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        let answer = self.times.answer;
        let answering = self.answering.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + answer)));
        answering.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithTimeouts<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.strict).poll_read(context, into) {
            // A TLS client closed the connection, or its own direction, without saying so (`close_notify`). That is harmless,
            // because a request says itself where it ends; hyper notices one that broke off.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
            Poll::Ready(read) => return Poll::Ready(read),
            Poll::Pending => {}
        }
        self.poll_head_late(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithTimeouts<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.strict).poll_write(context, bytes);
        if self.answering.is_some() && written.is_ready() && self.activity.endless().is_set() {
            self.answering = None;
        }
        self.in_time(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it has: then the client has kept up.
        let flushed = Pin::new(&mut self.strict).poll_flush(context);
        if flushed.is_ready() {
            self.answering = None;
        }
        self.in_time(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.strict).poll_shutdown(context);
        self.in_time(shut, context)
    }
}

/// Is asked for a timer when hyper begins to wait for a head, which is after it has sent the previous answer.
pub(super) struct HeadTimer {
    pub(super) activity: Arc<Activity>,
    pub(super) times: Timeouts,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: std::time::Duration) -> Pin<Box<dyn HyperSleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn HyperSleep>> {
        self.activity.is_idle_from(deadline.checked_sub(self.times.idle).unwrap_or(deadline).into());
        Box::pin(Never)
    }

    fn now(&self) -> std::time::Instant {
        TokioTimer::new().now()
    }
}

struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl HyperSleep for Never {}
