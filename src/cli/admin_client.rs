//! A client for the operators' listener of the gateway on this machine.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, header, http::request};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;

use crate::limits::{OPERATOR_ANSWER_BYTES_MAX, OPERATOR_RETRY_AFTER};

/// The code of a gateway that is busy and has not begun the request.
const BUSY: &str = "busy";

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Posts `question` and reads the answer. Waits while the gateway works on this request and on earlier ones.
pub(super) async fn post<T: DeserializeOwned>(address: SocketAddr, path: &str, question: &impl Serialize) -> anyhow::Result<T> {
    let question = Bytes::from(serde_json::to_vec(question)?);
    loop {
        let (status, body) = ask(address, path, question.clone()).await?;
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
