//! Accepting connections, with or without TLS, and ending them gracefully.

mod crowd;
mod proxy_protocol;

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::{
    Front,
    client_address::{Peer, Proxies},
};
use crate::limits::{
    H1_BUFFER_BYTES_MAX, H2_HEADER_BYTES_MAX, H2_LOCAL_RESETS_MAX, H2_PENDING_RESETS_MAX, H2_STREAMS_MAX, HEADER_READ_TIMEOUT,
    RESPONSE_WRITE_TIMEOUT, TLS_HANDSHAKE_TIMEOUT,
};
use crowd::Crowd;

/// A listener and what it serves.
pub struct Server {
    /// Where connections come in.
    pub listener: TcpListener,
    /// TLS; none is plain HTTP. Connections that come take what is in it at that moment.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// What is served.
    pub front: Front,
    /// Whose connections are those of many clients.
    pub proxies: Arc<Proxies>,
    /// Connections open at one time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections open at one time from one client address; more are closed.
    pub connections_per_address_max: usize,
    /// What is counted.
    pub metrics: ServerMetrics,
}

/// What a server counts.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    /// Connections open now.
    pub connections: Gauge<i64, AtomicI64>,
    /// TLS handshakes that failed, and headers of the PROXY protocol that are none.
    pub handshake_failures: Counter,
    /// Connections closed because their address had too many.
    pub crowded_out: Counter,
}

impl Server {
    /// Serves until `stopping` is true, then lets the requests in flight finish, for at most `grace`.
    pub async fn run(self, mut stopping: watch::Receiver<bool>, grace: Duration) {
        let connections = Arc::new(Semaphore::new(self.connections_max));
        let crowd = Arc::new(Crowd::new(self.connections_per_address_max));
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
            let (stream, address) = match accepted {
                Ok((stream, address)) => (stream, address.ip()),
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let connection = Connection {
                tls: self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.load_full())),
                front: self.front.clone(),
                proxies: self.proxies.clone(),
                crowd: crowd.clone(),
                watcher: graceful.watcher(),
            };
            let metrics = self.metrics.clone();
            tokio::spawn(async move {
                metrics.connections.inc();
                match connection.serve(stream, address).await {
                    Ok(()) => {}
                    Err(NotServed::NoHandshake) => {
                        metrics.handshake_failures.inc();
                    }
                    Err(NotServed::CrowdedOut) => {
                        metrics.crowded_out.inc();
                    }
                }
                metrics.connections.dec();
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
    proxies: Arc<Proxies>,
    crowd: Arc<Crowd>,
    watcher: Watcher,
}

/// Why a connection came to no request.
enum NotServed {
    /// The client, or the proxy before it, did not finish its handshake, or not in time.
    NoHandshake,
    /// Its address has as many connections as it may.
    CrowdedOut,
}

impl Connection {
    async fn serve(self, mut stream: TcpStream, peer: IpAddr) -> Result<(), NotServed> {
        // An answer is one write; waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        let is_proxy = self.proxies.trust(peer);
        let mut address = peer;
        if is_proxy && self.proxies.proxy_protocol {
            match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, proxy_protocol::read(&mut stream)).await {
                Ok(Ok(client)) => address = client.unwrap_or(peer),
                Ok(Err(_)) | Err(_) => return Err(NotServed::NoHandshake),
            }
        }
        // A proxy that does not say who its clients are has all their connections.
        let _member = match is_proxy && address == peer {
            true => None,
            false => Some(self.crowd.enter(address).ok_or(NotServed::CrowdedOut)?),
        };
        // A client that reads nothing holds the answer, and the connection, only for so long.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(RESPONSE_WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        match self.tls.clone() {
            None => self.http(stream, Peer { address, has_certificate: false }).await,
            Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    self.http(stream, Peer { address, has_certificate }).await;
                }
                Ok(Err(_)) | Err(_) => return Err(NotServed::NoHandshake),
            },
        }
        Ok(())
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(H1_BUFFER_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
            .max_header_list_size(H2_HEADER_BYTES_MAX)
            .keep_alive_interval(HEADER_READ_TIMEOUT);
        let front = self.front;
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            front.call(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        // How a connection ends is its client's affair: broken off, timed out, closed.
        let _ = self.watcher.watch(connection).await;
    }
}
