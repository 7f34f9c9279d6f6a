//! A client for the operators' listener of the gateway on this machine.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, body::Incoming, header, http::request};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::limits::{OPERATOR_ANSWER_BYTES_MAX, OPERATOR_RETRY_AFTER};

/// The code of a gateway that is busy and has not begun the request.
const BUSY: &str = "busy";

/// The code of a gateway that stops.
const STOPPING: &str = "stopping";

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Posts `question` and reads the answer. Waits while the gateway works on this request and on earlier ones.
pub(super) async fn post<T: DeserializeOwned>(address: SocketAddr, path: &str, question: &impl Serialize) -> anyhow::Result<T> {
    let question = Bytes::from(serde_json::to_vec(question)?);
    answer(address, async || ask(address, path, question.clone()).await).await
}

/// Gets an answer. Waits while the gateway is busy.
pub(super) async fn get_json<T: DeserializeOwned>(address: SocketAddr, path: &str) -> anyhow::Result<T> {
    answer(address, async || get_any(address, path).await).await
}

/// The answer to a request, which is repeated while the gateway is busy.
async fn answer<T: DeserializeOwned>(
    address: SocketAddr,
    mut request: impl AsyncFnMut() -> anyhow::Result<(StatusCode, Bytes)>,
) -> anyhow::Result<T> {
    loop {
        let (status, body) = request().await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).with_context(|| format!("the answer of {address} is not understood"));
        }
        let problem: Problem = serde_json::from_slice(&body)
            .with_context(|| format!("{address} answers {status}; is it a gateway's listener for operators?"))?;
        // Nothing was done yet.
        if problem.code != BUSY {
            bail!("{} ({})", problem.detail, problem.code);
        }
        tokio::time::sleep(OPERATOR_RETRY_AFTER).await;
    }
}

/// Gets an answer of any status.
pub(super) async fn get_any(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("nothing answers on {address}"))?;
    send(stream, address, Request::get(path), Bytes::new()).await
}

/// Gets a text.
pub(super) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let (status, body) = get_any(address, path).await?;
    if status != StatusCode::OK {
        bail!("{address} answers {status}; is it a gateway's listener for operators?");
    }
    String::from_utf8(body.into()).with_context(|| format!("the answer of {address} is not understood"))
}

/// An answer that is read as it comes.
pub(super) struct Stream {
    body: Incoming,
    connection: JoinHandle<hyper::Result<()>>,
}

/// Why there is no answer now, although there may be one later.
#[derive(Debug)]
pub(super) struct NotNow(pub(super) String);

/// Gets an answer without an end. The error is that of a gateway that does not answer the question, now or later.
pub(super) async fn stream(address: SocketAddr, path: &str) -> anyhow::Result<Result<Stream, NotNow>> {
    let gone = |error: &dyn std::fmt::Display| Ok(Err(NotNow(format!("nothing answers on {address}: {error}"))));
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return gone(&error),
    };
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok(opened) => opened,
        Err(error) => return gone(&error),
    };
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Full::new(Bytes::new()))?;
    let (parts, body) = match sender.send_request(request).await {
        Ok(answer) => answer.into_parts(),
        Err(error) => return gone(&error),
    };
    if parts.status == StatusCode::OK {
        return Ok(Ok(Stream { body, connection }));
    }
    let body = Limited::new(body, OPERATOR_ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    connection.abort();
    let problem: Problem = serde_json::from_slice(&body)
        .with_context(|| format!("{address} answers {}; is it a gateway's listener for operators?", parts.status))?;
    match problem.code.as_str() {
        BUSY | STOPPING => Ok(Err(NotNow(format!("{} ({})", problem.detail, problem.code)))),
        _ => bail!("{} ({})", problem.detail, problem.code),
    }
}

impl Stream {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<hyper::Result<Bytes>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        return Some(Ok(piece));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn ask(address: SocketAddr, path: &str, question: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await.with_context(|| {
        format!("the data folder is in use, but nothing answers on {address}; --admin names the gateway's address for operators")
    })?;
    send(stream, address, Request::post(path).header(header::CONTENT_TYPE, "application/json"), question).await
}

async fn send(
    stream: TcpStream,
    address: SocketAddr,
    request: request::Builder,
    question: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = request.header(header::HOST, address.to_string()).body(Full::new(question))?;
    let (parts, body) = sender.send_request(request).await.with_context(|| format!("no HTTP on {address}"))?.into_parts();
    let body = Limited::new(body, OPERATOR_ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    connection.abort();
    Ok((parts.status, body))
}
