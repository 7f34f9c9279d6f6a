//! One connection of the client: HTTP/1.1 with keep-alive or HTTP/2, with or without TLS, one request at a time.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Uri,
    body::Incoming,
    client::conn::{http1, http2},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What every request carries; the reference servers are sent it too.
const AUTHORIZATION_VALUE: &str = "Bearer bench-secret";
/// What the gateway's configuration holds of that secret.
pub(crate) const SECRET_SHA256: &str = "0159438a9235d6abde38e49fb98944660d067d6b9b03d8a8f4ee4e522feb62cb";

/// Protocol of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Http {
    /// HTTP/1.1, kept alive.
    H1,
    /// HTTP/2.
    H2,
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
        })
    }
}

/// What a good answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 204, from a reference server.
    NoContent,
    /// 202 with every event accepted, from the gateway.
    AllAccepted,
}

/// Where the load goes, and over what.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    http: Http,
    uri: Uri,
    /// The body of a good answer begins so; empty: the answer has none.
    expected: Bytes,
}

impl Target {
    /// `certificate` is what the server is trusted by; none is plain HTTP. Bodies hold `batch` events.
    pub(crate) fn new(
        address: SocketAddr,
        certificate: Option<&Path>,
        http: Http,
        expected: Expected,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let uri = match http {
            Http::H1 => "/v1/events".parse()?,
            Http::H2 => format!("{scheme}://{address}/v1/events").parse()?,
        };
        let expected = match expected {
            Expected::NoContent => Bytes::new(),
            Expected::AllAccepted => {
                format!(r#"{{"accepted":{batch},"duplicates":0,"rejected":0,"retry":0,"results":[]}}"#).into()
            }
        };
        Ok(Self { address, tls: certificate.map(|certificate| connector(certificate, http)).transpose()?, http, uri, expected })
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("no connection")?;
        stream.set_nodelay(true)?;
        let sender = match &self.tls {
            None => handshake(stream, self.http).await?,
            Some(tls) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                handshake(tls.connect(name, stream).await.context("no TLS")?, self.http).await?
            }
        };
        Ok(Connection { target: self.clone(), sender, host: HeaderValue::from_str(&self.address.to_string())? })
    }
}

fn connector(certificate: &Path, http: Http) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(
        CertificateDer::from_pem_file(certificate).with_context(|| format!("{} is no certificate", certificate.display()))?,
    )?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![match http {
        Http::H1 => b"http/1.1".to_vec(),
        Http::H2 => b"h2".to_vec(),
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http: Http) -> anyhow::Result<Sender> {
    // How a connection ends is met by the request that is waiting for its answer.
    Ok(match http {
        Http::H1 => {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Sender::H1(sender)
        }
        Http::H2 => {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Sender::H2(sender)
        }
    })
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
pub(crate) struct Connection {
    target: Target,
    sender: Sender,
    host: HeaderValue,
}

impl Connection {
    /// Sends `body` and waits for the whole answer. Anything but the expected one is an error.
    pub(crate) async fn post(&mut self, body: Bytes) -> anyhow::Result<()> {
        let request = Request::post(self.target.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(AUTHORIZATION, HeaderValue::from_static(AUTHORIZATION_VALUE));
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request.header(HOST, self.host.clone()).body(Full::new(body))?).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request.body(Full::new(body))?).await?
            }
        };
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await?.to_bytes();
        let expected_status = if self.target.expected.is_empty() { 204 } else { 202 };
        if status != expected_status || answer != self.target.expected {
            bail!("{status} {}", String::from_utf8_lossy(&answer).chars().take(300).collect::<String>());
        }
        Ok(())
    }
}

/// `GET path` from a server without TLS, such as the gateway's operators' listener.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&stream(address, path).await?.collect().await?.to_bytes()).into_owned())
}

/// The body of an answer of a listener without TLS, as it comes.
pub(crate) async fn stream(address: SocketAddr, path: &str) -> anyhow::Result<Incoming> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Full::new(Bytes::new()))?;
    let response = sender.send_request(request).await?;
    ensure!(response.status().is_success(), "{path} answered {}", response.status());
    Ok(response.into_body())
}
