//! The port: connections that are answered, reset, cut or left hanging, and outages.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    task::JoinSet,
    time::Instant,
};

use super::{
    Shared,
    api::{Reply, handle},
    stored::Fate,
};

const BACKLOG: u32 = 1024;

/// A port that stays ours while nobody listens on it: bound, never listening, so that connecting to it is refused.
pub struct Reservation(TcpSocket);

impl Reservation {
    pub fn new() -> Self {
        Self(bind(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    fn listen(&self) -> TcpListener {
        bind(self.address()).listen(BACKLOG).expect("the port is ours")
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Two sockets may be bound to a port as long as at most one listens.
    socket.set_reuseaddr(true).expect("an option of every socket");
    socket.bind(address).expect("a free port");
    socket
}

/// Listens while that is wanted; cuts every connection when it no longer is.
pub async fn listen(shared: Arc<Shared>, reservation: Reservation) {
    let mut wanted = shared.wanted.subscribe();
    loop {
        let _ = wanted.wait_for(|wanted| *wanted).await;
        let listener = reservation.listen();
        shared.is_open.send_replace(true);
        let mut connections = JoinSet::new();
        loop {
            let unwanted = async {
                let _ = wanted.wait_for(|wanted| !*wanted).await;
            };
            select! {
                () = unwanted => break,
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("a loopback listener accepts");
                    connections.spawn(connection(shared.clone(), stream));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
        shared.is_open.send_replace(false);
    }
}

/// The service's way to say that the connection is to be reset.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("reset by a fault")
    }
}

impl std::error::Error for Reset {}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let number = shared.change(|state| {
        state.connections += 1;
        state.connections - 1
    });
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| Box::pin(answer(shared.clone(), number, request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let end = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if end.is_err() {
        // Closing sends a reset then.
        let _ = stream.set_zero_linger();
    }
}

async fn answer(shared: Arc<Shared>, connection: u64, request: Request<Incoming>) -> Result<Response<AnswerBody>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let (call, reply) = shared.change(|state| handle(state, connection, &parts.headers, &body));
    // Until the answer is given, whatever ends this future loses it.
    let mut fate = FateOf { shared, call, fate: Fate::Lost };
    let (status, body, answered, is_cut, delay) = match reply {
        Reply::Answer { status, body, fate, is_cut, delay } => (status, body, fate, is_cut, delay),
        Reply::Reset => return Err(Reset),
        Reply::Stall => {
            fate.settle();
            pending::<Infallible>().await;
            unreachable!("it is pending for ever")
        }
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let body = AnswerBody { bytes: Some(body), is_cut, answered, fate };
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    Ok(response.header("x-amzn-requestid", format!("call-{call}")).body(body).expect("a response"))
}

/// Writes down what became of a call, at the latest when it is dropped.
struct FateOf {
    shared: Arc<Shared>,
    call: usize,
    fate: Fate,
}

impl FateOf {
    /// Writes it down now, once.
    fn settle(&mut self) {
        self.shared.change(|state| {
            let call = &mut state.calls[self.call];
            if call.fate == Fate::Pending {
                call.fate = self.fate;
                call.settled_at = Some(Instant::now());
                state.calls_in_flight -= 1;
            }
        });
    }
}

impl Drop for FateOf {
    fn drop(&mut self) {
        self.settle();
    }
}

/// The body of an answer, which knows whether the connection took it.
struct AnswerBody {
    bytes: Option<Bytes>,
    is_cut: bool,
    answered: Fate,
    fate: FateOf,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        let is_cut = self.is_cut;
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(is_cut.then_some(Err(Reset)));
        };
        if is_cut {
            return Poll::Ready(Some(Ok(Frame::data(bytes.slice(..bytes.len() / 2)))));
        }
        self.fate.fate = self.answered;
        // Before the client can have it, so that who has it finds it written down.
        self.fate.settle();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && !self.is_cut
    }

    fn size_hint(&self) -> SizeHint {
        // The whole length, also of an answer that will be cut: the client has to wait for the rest.
        self.bytes.as_ref().map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes.len() as u64))
    }
}
