//! Accepts connections, with or without TLS, and closes them gracefully.

mod activity;
mod chunked_body;
mod connection_limits;
mod framing;
mod http1;
mod linger;
mod peeked_stream;
mod plain_http;
mod proxy_protocol;
mod timeouts;

use std::{
    future::{pending, poll_fn},
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicI64},
    task::Poll,
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::{
    Request,
    body::Incoming,
    rt::Executor,
    server::conn::http2,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    FastPath,
    client_address::{Peer, Proxies},
};
use crate::limits::{
    DRAIN_BODY_TIMEOUT, H2_HEADER_BYTES_MAX, H2_LOCAL_RESETS_MAX, H2_PENDING_RESETS_MAX, H2_PING_INTERVAL, H2_REQUEST_TIMEOUT,
    H2_STREAMS_MAX, MAKE_ROOM_INTERVAL, RESPONSE_WRITE_TIMEOUT, TLS_HANDSHAKE_TIMEOUT,
};
use activity::Activity;
pub use activity::Timeouts;
use chunked_body::ChunkedBody;
use connection_limits::{ConnectionLimits, CountedConnection};
use peeked_stream::PeekedStream;

/// A listener and what it serves.
pub struct Server {
    /// The listener that accepts connections.
    pub listener: TcpListener,
    /// The TLS configuration; `None` is plain HTTP. New connections use the configuration that is current at that moment.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Whether the port of HTTPS takes plain HTTP too; if not, it gets a line that says so.
    pub takes_plain_http: bool,
    /// The service for the requests.
    pub front: FastPath,
    /// The proxies, whose connections carry many clients.
    pub proxies: Arc<Proxies>,
    /// Whether the proxies may leave out the header of the PROXY protocol.
    pub may_lack_proxy_header: bool,
    /// Becomes true when the gateway stops soon, and its clients should open no more requests on their connections.
    pub lame_duck: watch::Receiver<bool>,
    /// Connections open at one time. At the limit, a new connection replaces an open one: see `server/connection_limits.rs`.
    pub connections_max: usize,
    /// Connections open at one time from one client address; connections beyond it are closed.
    pub connections_per_address_max: usize,
    /// The timeouts of the connections.
    pub times: Timeouts,
    /// The metrics of the server.
    pub metrics: ServerMetrics,
}

/// The metrics of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    /// Connections open now.
    pub connections: Gauge<i64, AtomicI64>,
    /// Failed TLS handshakes, and invalid headers of the PROXY protocol.
    pub handshake_failures: Counter,
    /// Connections closed because their address had too many, or to make room.
    pub crowded_out: Counter,
}

impl Server {
    /// Serves until `stopping` is true, then lets the requests in flight finish, for at most `grace`.
    pub async fn run(self, mut stopping: watch::Receiver<bool>, grace: Duration) {
        let connections = Arc::new(Semaphore::new(self.connections_max));
        let limits = Arc::new(ConnectionLimits::new(self.connections_per_address_max));
        loop {
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
            let permit = tokio::select! {
                permit = place(&connections, &limits, address, &self.metrics) => permit,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            let connection = Connection {
                tls: self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.load_full())),
                takes_plain_http: self.takes_plain_http,
                front: self.front.clone(),
                proxies: self.proxies.clone(),
                may_lack_proxy_header: self.may_lack_proxy_header,
                lame_duck: self.lame_duck.clone(),
                limits: limits.clone(),
                activity: Activity::new(),
                times: self.times,
                stopping: stopping.clone(),
            };
            let activity = connection.activity.clone();
            let metrics = self.metrics.clone();
            let open = OpenConnection::of(&metrics, permit);
            // Counted before its task runs: of a crowd that comes at once, all must be known to whoever makes room for the next one.
            let member = match self.proxies.trust(address) {
                true => None,
                false => match limits.enter(address, activity.clone()) {
                    None => {
                        metrics.crowded_out.inc();
                        continue;
                    }
                    member => member,
                },
            };
            let task = tokio::spawn(async move {
                let _open = open;
                match connection.open(stream, address, member).await {
                    Ok((talk, _member)) => talk.await,
                    Err(NotServed::NoHandshake) => {
                        metrics.handshake_failures.inc();
                    }
                    Err(NotServed::CrowdedOut) => {
                        metrics.crowded_out.inc();
                    }
                }
            });
            activity.is_served_by(task.abort_handle());
        }
        drop(self.listener);
        // Each connection holds a permit until its end.
        let all = u32::try_from(self.connections_max).unwrap_or(u32::MAX);
        if timeout(grace, connections.acquire_many(all)).await.is_err() {
            tracing::warn!(seconds = grace.as_secs(), "requests were still in flight when their time was up");
        }
    }
}

/// A permit for a connection from `address`. If none is free, an open connection is closed to free its permit.
async fn place(
    connections: &Arc<Semaphore>,
    limits: &ConnectionLimits,
    address: IpAddr,
    metrics: &ServerMetrics,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = connections.clone().try_acquire_owned() {
        return Some(permit);
    }
    loop {
        if limits.make_room(address) {
            metrics.crowded_out.inc();
        }
        // If no connection can be closed now, one may end soon.
        if let Ok(permit) = timeout(MAKE_ROOM_INTERVAL, connections.clone().acquire_owned()).await {
            return permit.ok();
        }
    }
}

/// Out of descriptors, or the connection was gone before it was accepted. Neither ends the server.
async fn pause_after(error: &io::Error) {
    let is_gone = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_gone {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A connection counted as open until this is dropped, however its task ends.
struct OpenConnection {
    connections: Gauge<i64, AtomicI64>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl OpenConnection {
    fn of(metrics: &ServerMetrics, permit: Option<OwnedSemaphorePermit>) -> Self {
        metrics.connections.inc();
        Self { connections: metrics.connections.clone(), _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

struct Connection {
    tls: Option<TlsAcceptor>,
    takes_plain_http: bool,
    front: FastPath,
    proxies: Arc<Proxies>,
    may_lack_proxy_header: bool,
    lame_duck: watch::Receiver<bool>,
    limits: Arc<ConnectionLimits>,
    activity: Arc<Activity>,
    times: Timeouts,
    stopping: watch::Receiver<bool>,
}

/// Why a connection served no request.
enum NotServed {
    /// The client, or the proxy before it, did not complete its handshake in time.
    NoHandshake,
    /// The address has as many connections as it may.
    CrowdedOut,
}

/// A connection whose client has limited time to read an answer.
type TcpConnection = Pin<Box<TimeoutStream<TcpStream>>>;

/// Serves a connection after its HTTP version is known. It is polled several times per request, so it has no wrapper.
type Talk = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    /// Admits a connection, which counts as `member` unless it comes from a proxy, and reads until its first request begins.
    async fn open(
        self,
        mut stream: TcpStream,
        peer: IpAddr,
        member: Option<CountedConnection>,
    ) -> Result<(Talk, Option<CountedConnection>), NotServed> {
        // An answer is one write; waiting to fill a packet would only delay it.
        let _ = stream.set_nodelay(true);
        let mut is_proxy = self.proxies.trust(peer);
        let mut address = peer;
        if is_proxy && self.proxies.proxy_protocol {
            match timeout(TLS_HANDSHAKE_TIMEOUT, self.proxy_header(&mut stream)).await {
                Ok(Ok(Some(client))) => address = client.unwrap_or(peer),
                // Somebody in the network of the proxies who speaks for himself.
                Ok(Ok(None)) => is_proxy = false,
                Ok(Err(_)) | Err(_) => return Err(NotServed::NoHandshake),
            }
        }
        // A proxy that does not name its clients has the connections of all of them, so it has no limit per address.
        let member = match member {
            None if is_proxy && address == peer => None,
            None => Some(self.limits.enter(address, self.activity.clone()).ok_or(NotServed::CrowdedOut)?),
            member => member,
        };
        let is_unnamed = is_proxy && self.proxies.proxy_protocol && address == peer;
        let peer = Peer { address, is_unnamed, bodies: self.front.bodies_of(address), has_certificate: false };
        Ok((self.secure(stream, peer).await?, member))
    }

    /// The client in the header of the PROXY protocol, if it names one; `None` if there is no header and none is needed.
    async fn proxy_header(&self, stream: &mut TcpStream) -> io::Result<Option<Option<IpAddr>>> {
        if self.may_lack_proxy_header && !proxy_protocol::begins(stream).await? {
            return Ok(None);
        }
        proxy_protocol::read(stream).await.map(Some)
    }

    async fn secure(self, stream: TcpStream, peer: Peer) -> Result<Talk, NotServed> {
        // A client that reads nothing may hold the answer and the connection only for a limited time.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(RESPONSE_WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        let is_plain = async || {
            // Who sends nothing is no HTTP/1 client, and is met by the time of a handshake below.
            let first = timeout(TLS_HANDSHAKE_TIMEOUT, plain_http::is_tls(stream.get_ref())).await;
            matches!(first, Ok(Ok(false)))
        };
        match self.tls.clone() {
            None => Ok(self.http(stream, peer).await),
            Some(_) if self.takes_plain_http && is_plain().await => Ok(self.http(stream, peer).await),
            Some(tls) => match timeout(TLS_HANDSHAKE_TIMEOUT, handshake(&tls, stream)).await {
                Ok(Ok(Some(stream))) => {
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    Ok(self.http(stream, Peer { has_certificate, ..peer }).await)
                }
                Ok(Ok(None) | Err(_)) | Err(_) => Err(NotServed::NoHandshake),
            },
        }
    }

    async fn http(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) -> Talk {
        let mut stream = PeekedStream::new(stream);
        let (activity, times) = (self.activity, self.times);
        let first = async {
            match timeout(times.idle, stream.begins()).await {
                Ok(_) => timeout(times.head, stream.is_http2()).await,
                Err(late) => Err(late),
            }
        };
        let is_http2 = tokio::select! {
            is_http2 = first => is_http2,
            _ = self.stopping.wait_for(|stopping| *stopping) => return Box::pin(async {}),
        };
        if self.tls.is_none() {
            plain_http::hint_of_tls(stream.first());
        }
        let (front, late) = (self.front.clone(), self.front);
        let endless = front.is_for_operators().then(|| activity.endless().clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(endless) = &endless {
                request.extensions_mut().insert(endless.clone());
            }
            front.call(request, &peer)
        });
        let head_timed_out = move || late.head_timed_out(times.head);
        match is_http2 {
            // The client decides how a connection ends: aborted, timed out, closed.
            Ok(Err(_)) => Box::pin(async {}),
            Ok(Ok(true)) => Box::pin(async move {
                let mut builder = http2::Builder::new(InTime(activity.clone()));
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(H2_STREAMS_MAX)
                    .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
                    .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
                    .max_header_list_size(H2_HEADER_BYTES_MAX)
                    .keep_alive_interval(H2_PING_INTERVAL);
                let service = service_fn(move |request| {
                    let answer = service.call(request);
                    async move { answer.await.map(|answer| answer.map(ChunkedBody::of)) }
                });
                let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
                let is_stopping = tokio::select! {
                    // First, so that a request which opens now is seen below.
                    biased;
                    _ = connection.as_mut() => return,
                    // Pings of the client do not keep the connection open.
                    () = activity.idle_for(times.idle, Instant::now()) => false,
                    _ = self.stopping.wait_for(|stopping| *stopping) => true,
                    () = leaves(&mut self.lame_duck, &activity) => false,
                };
                connection.as_mut().graceful_shutdown();
                // Finish the requests in flight; on an idle connection, those that the client sent at this moment.
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = activity.idle_for(DRAIN_BODY_TIMEOUT, Instant::now()), if !is_stopping => {}
                }
            }),
            Ok(Ok(false)) => Box::pin(http1::serve(stream, service, (activity, times), self.stopping, head_timed_out)),
            Err(_) => {
                let has_begun = framing::has_begun(stream.first());
                Box::pin(http1::time_is_up(stream, has_begun, head_timed_out))
            }
        }
    }
}

/// Waits until the gateway stops soon and the client has opened a request on this connection: who connects at that time, because
/// its balancer does not know yet, is served too. Poll it after the connection, whose requests wake the task.
async fn leaves(lame_duck: &mut watch::Receiver<bool>, activity: &Activity) {
    if lame_duck.wait_for(|lame_duck| *lame_duck).await.is_err() {
        // This listener is served until the end.
        pending::<()>().await;
    }
    poll_fn(|_| if activity.has_served() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// The TLS connection after the handshake; `None` if the client does not speak TLS.
async fn handshake(tls: &TlsAcceptor, mut stream: TcpConnection) -> io::Result<Option<TlsStream<TcpConnection>>> {
    if plain_http::is_tls(stream.get_ref()).await? {
        return tls.accept(stream).await.map(Some);
    }
    plain_http::answer(&mut stream).await.map(|()| None)
}

/// Runs the requests of an HTTP/2 connection with a time limit each. A socket timeout would not end an answer that the client
/// blocks with flow control, because such an answer waits without a write.
#[derive(Clone)]
struct InTime(Arc<Activity>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for InTime {
    fn execute(&self, request: F) {
        let open = self.0.open();
        tokio::spawn(async move {
            let _open = open;
            timeout(H2_REQUEST_TIMEOUT, request).await
        });
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{
        body::Body,
        http::{Request, Response},
    };
    use http_body_util::BodyExt;
    use hyper_util::rt::TokioExecutor;

    use super::*;

    /// How much of a 1 MiB answer arrives over HTTP/2 if the client lets only a little of it through for a while.
    async fn read_after(pause: Duration) -> Option<usize> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(ChunkedBody::of(Body::from(vec![0; 1 << 20])))) });
        tokio::spawn(http2::Builder::new(InTime(Activity::new())).serve_connection(TokioIo::new(server), service));
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.initial_stream_window_size(1000).handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://localhost/").body(Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        tokio::time::sleep(pause).await;
        answer.into_body().collect().await.ok().map(|body| body.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_its_http2_client_does_not_let_through_is_given_up_in_time() {
        assert_eq!(read_after(H2_REQUEST_TIMEOUT / 2).await, Some(1 << 20));
        assert_eq!(read_after(H2_REQUEST_TIMEOUT * 2).await, None);
    }
}
