//! Clients: HTTP/1.1 and HTTP/2 over real TLS, and a bare TLS stream for what no client would send.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header::{HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than anything that a gateway may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    H1,
    H2,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Post {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Post {
    /// Events with the key `dev`, and no further headers.
    pub fn events(body: impl Into<Bytes>) -> Self {
        Self { path: "/v1/events".into(), headers: vec![("x-api-key", "dev".into())], body: body.into() }
    }

    /// The same as JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::events(body).header("content-type", "application/json")
    }

    /// The same as one object per line.
    pub fn lines(body: impl Into<Bytes>) -> Self {
        Self::events(body).header("content-type", "application/x-ndjson")
    }

    /// With a header, in the place of one of the same name.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(found, _)| *found != name);
        self.headers.push((name, value.into()));
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| *found != name);
        self
    }
}

/// The connection ended before the answer was whole: nobody knows what became of the events.
#[derive(Debug)]
pub struct Lost(pub String);

fn lost(error: impl std::fmt::Debug) -> Lost {
    Lost(format!("{error:?}"))
}

/// Where to send, and whom to trust.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    config: ClientConfig,
    /// What is sent before TLS begins: a header of the PROXY protocol.
    preface: Vec<u8>,
}

impl Client {
    /// Trusts only the certificate in `file`.
    pub fn trusting(file: &Path, address: SocketAddr) -> Self {
        Self::with(&[file], address, ConfigBuilder::<ClientConfig, _>::with_no_client_auth)
    }

    /// Trusts only the certificates in `files`.
    pub fn with(
        files: &[&Path],
        address: SocketAddr,
        auth: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for file in files {
            let certificate = CertificateDer::from_pem_file(file).expect("a certificate was made");
            roots.add(certificate).expect("a certificate that can be trusted");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        Self { address, config: auth(builder.with_root_certificates(roots)), preface: Vec::new() }
    }

    /// With something before TLS.
    pub fn after(mut self, preface: impl Into<Vec<u8>>) -> Self {
        self.preface = preface.into();
        self
    }

    /// The bare TLS stream, with `wire` negotiated.
    pub async fn stream(&self, wire: Wire) -> Result<TlsStream<TcpStream>, Lost> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![if wire == Wire::H2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let mut stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        stream.write_all(&self.preface).await.map_err(lost)?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(lost)
    }

    /// A connection.
    pub async fn connect(&self, wire: Wire) -> Result<Connection, Lost> {
        let stream = TokioIo::new(self.stream(wire).await?);
        match wire {
            Wire::H1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(lost)?;
                tokio::spawn(connection);
                Ok(Connection::H1(sender))
            }
            Wire::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(lost)?;
                tokio::spawn(connection);
                Ok(Connection::H2(sender))
            }
        }
    }

    /// Sends one request on a connection of its own.
    pub async fn post(&self, wire: Wire, post: &Post) -> Result<Answer, Lost> {
        self.connect(wire).await?.post(post).await
    }

    /// Sends a request without a body.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Lost> {
        self.connect(Wire::H1).await?.send(bare(method, path, headers)).await
    }

    /// Gets `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, Lost> {
        let request = Request::get(path).header("host", "localhost").body(Full::default()).expect("a request");
        self.connect(Wire::H1).await?.send(request).await
    }
}

/// Gets `path` from a listener without TLS.
pub async fn get_plain(address: SocketAddr, path: &str) -> Result<Answer, Lost> {
    ask_plain(address, "GET", path, &[]).await
}

/// Sends a request without a body to a listener without TLS.
pub async fn ask_plain(address: SocketAddr, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Lost> {
    Connection::plain(address).await?.send(bare(method, path, headers)).await
}

fn bare(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::default()).expect("a request")
}

/// An open connection.
pub enum Connection {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Over plain HTTP/1.
    pub async fn plain(address: SocketAddr) -> Result<Self, Lost> {
        let stream = TcpStream::connect(address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(Self::H1(sender))
    }

    /// Whether it takes no more requests, because the other end said so.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request and reads its answer whole.
    pub async fn post(&mut self, post: &Post) -> Result<Answer, Lost> {
        let mut builder = Request::post(match self {
            Self::H1(_) => post.path.clone(),
            Self::H2(_) => format!("https://localhost{}", post.path),
        });
        if matches!(self, Self::H1(_)) {
            builder = builder.header("host", "localhost");
        }
        for (name, value) in &post.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
            builder = builder.header(HeaderName::from_static(name), value);
        }
        self.send(builder.body(Full::new(post.body.clone())).expect("a request")).await
    }

    /// Sends a request without a body.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Lost> {
        match self {
            Self::H1(_) => self.send(bare(method, path, headers)).await,
            Self::H2(_) => self.send(bare(method, &format!("https://localhost{path}"), headers)).await,
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Lost> {
        let answer = async {
            let response = match self {
                Self::H1(sender) => {
                    sender.ready().await.map_err(lost)?;
                    sender.send_request(request).await
                }
                Self::H2(sender) => {
                    sender.ready().await.map_err(lost)?;
                    sender.send_request(request).await
                }
            };
            Answer::read(response.map_err(lost)?).await
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.expect("the gateway answers, or closes the connection")
    }
}

/// What became of one event, as its client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Accepted,
    Duplicate,
    Rejected(String),
    Retry(String),
}

impl Told {
    /// Whether the client may forget the event, because it is in the lake or will be.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self, Lost> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        Ok(Self { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// A header's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The stable code of a problem, whose form is checked.
    pub fn problem_code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["type"], format!("/errors#{code}"), "{self:?}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{self:?}");
        for text in ["title", "detail", "request_id"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{text} of {self:?}");
        }
        if matches!(self.status, 429 | 503) {
            assert!(self.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{self:?}");
        }
        code
    }

    /// What became of each of the `count` events that were sent, in their order. Every rule of the contract that the
    /// counts, the results and the status obey is checked.
    pub fn told(&self, count: usize) -> Vec<Told> {
        let body = self.json();
        if !body["results"].is_array() {
            let code = self.problem_code();
            assert!(
                matches!(self.status, 408 | 429 | 500 | 503),
                "not one event was looked at, and it says not to retry: {self:?}"
            );
            return vec![Told::Retry(code); count];
        }
        let mut told = vec![Told::Accepted; count];
        let mut before = None;
        for result in body["results"].as_array().expect("checked above") {
            let index = usize::try_from(result["index"].as_u64().expect("an index")).expect("small");
            assert!(before < Some(index) && index < count, "results are in input order: {self:?}");
            before = Some(index);
            let code = || result["error"]["code"].as_str().expect("a code").to_owned();
            told[index] = match result["status"].as_str() {
                Some("duplicate") => Told::Duplicate,
                Some("rejected") => Told::Rejected(code()),
                Some("retry") => Told::Retry(code()),
                _ => panic!("{self:?}"),
            };
        }
        if body["results_truncated"] == true {
            self.fill_in(&body, &mut told);
        }
        let number = |of: fn(&Told) -> bool| told.iter().filter(|told| of(told)).count();
        let accepted = number(|told| *told == Told::Accepted);
        let duplicates = number(|told| *told == Told::Duplicate);
        let rejected = number(|told| matches!(told, Told::Rejected(_)));
        let retry = number(|told| matches!(told, Told::Retry(_)));
        for (name, number) in [("accepted", accepted), ("duplicates", duplicates), ("rejected", rejected), ("retry", retry)] {
            assert_eq!(body[name], number, "{name} of {count} in {self:?}");
        }
        let is_whole = self.header("preference-applied").contains("answers=whole");
        let status = match () {
            () if is_whole => {
                if retry > 0 {
                    503
                } else {
                    200
                }
            }
            () if accepted + duplicates == count => 202,
            () if rejected == count => 422,
            () if retry == count => 503,
            () => 207,
        };
        assert_eq!(self.status, status, "{self:?}");
        if retry > 0 {
            assert!(!self.header("retry-after").is_empty(), "{self:?}");
        }
        if status >= 400 {
            self.problem_code();
        }
        told
    }

    /// What is left out of an answer whose `results` are cut, where the counts say it: never an event to be sent again, unless
    /// all of them are.
    fn fill_in(&self, body: &Value, told: &mut [Told]) {
        let left = |name: &str, of: fn(&Told) -> bool| {
            let listed = told.iter().filter(|told| of(told)).count() as u64;
            body[name].as_u64().expect("a count") - listed
        };
        let left = [
            (left("duplicates", |told| *told == Told::Duplicate), Told::Duplicate),
            (left("rejected", |told| matches!(told, Told::Rejected(_))), Told::Rejected("not listed".into())),
            (left("retry", |told| matches!(told, Told::Retry(_))), Told::Retry("not listed".into())),
        ];
        assert!(left[2].0 == 0 || self.status == 503, "an event to be sent again is not listed: {self:?}");
        let mut unsaid = told.iter_mut().filter(|told| **told == Told::Accepted);
        for (count, fate) in left {
            unsaid.by_ref().take(usize::try_from(count).expect("small")).for_each(|told| *told = fate.clone());
        }
    }
}
