//! Accepting connections, with or without TLS, and ending them gracefully.

use std::{
    io,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use super::Front;
use crate::limits::{H2_STREAMS_MAX, HEADER_READ_TIMEOUT, TLS_HANDSHAKE_TIMEOUT};

/// A listener and what it serves.
pub struct Server {
    /// Where connections come in.
    pub listener: TcpListener,
    /// TLS; none is plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// What is served.
    pub front: Front,
    /// Connections open at one time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections open now.
    pub connections: Gauge<i64, AtomicI64>,
    /// TLS handshakes that failed.
    pub handshake_failures: Counter,
}

impl Server {
    /// Serves until `stopping` is true, then lets the requests in flight finish, for at most `grace`.
    pub async fn run(self, mut stopping: watch::Receiver<bool>, grace: Duration) {
        let connections = Arc::new(Semaphore::new(self.connections_max));
        let graceful = GracefulShutdown::new();
        loop {
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let connection = Connection { tls: self.tls.clone(), front: self.front.clone(), watcher: graceful.watcher() };
            let (open, handshake_failures) = (self.connections.clone(), self.handshake_failures.clone());
            tokio::spawn(async move {
                open.inc();
                if connection.serve(stream).await.is_err() {
                    handshake_failures.inc();
                }
                open.dec();
                drop(permit);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!(seconds = grace.as_secs(), "requests were still in flight when their time was up");
        }
    }
}

/// Out of descriptors, or a connection that was gone before it was accepted: neither ends the server.
async fn pause_after(error: &io::Error) {
    let is_gone = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_gone {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Connection {
    tls: Option<TlsAcceptor>,
    front: Front,
    watcher: Watcher,
}

/// The client did not finish its TLS handshake, or not in time.
struct NoHandshake;

impl Connection {
    async fn serve(self, stream: TcpStream) -> Result<(), NoHandshake> {
        // An answer is one write; waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            None => self.http(stream).await,
            Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.http(stream).await,
                Ok(Err(_)) | Err(_) => return Err(NoHandshake),
            },
        }
        Ok(())
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(H2_STREAMS_MAX).keep_alive_interval(HEADER_READ_TIMEOUT);
        let connection = builder.serve_connection(TokioIo::new(stream), self.front).into_owned();
        // How a connection ends is its client's affair: broken off, timed out, closed.
        let _ = self.watcher.watch(connection).await;
    }
}
