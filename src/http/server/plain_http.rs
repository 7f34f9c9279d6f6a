//! Plain HTTP on the HTTPS port: `curl http://localhost:8443` gets a line with instructions, not a closed connection.
//!
//! A TLS client begins with a handshake record; any other first byte is not TLS. An HTTP/1 request is answered 400 with one
//! line of text, an HTTP/2 client gets the line with a GOAWAY; anything else gets no answer. At most [`PLAIN_HTTP_BYTES_MAX`] bytes
//! of a head are read. All of it, with the lingering close, takes at most the time of a handshake.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{linger, peeked_stream::H2_PREFACE};
use crate::limits::{PLAIN_HTTP_BYTES_MAX, TLS_HINT_INTERVAL};

/// The type of a TLS record that holds a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// Maximum length in bytes of a host name with a port that the answer repeats.
const HOST_BYTES_MAX: usize = 255;

/// Whether a client begins a TLS handshake, or closes without sending anything. The bytes remain unread.
pub(super) async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 0 || first[0] == HANDSHAKE_RECORD)
}

/// Logs, at most once in [`TLS_HINT_INTERVAL`], if the `first` bytes on a port of plain HTTP begin a TLS handshake: the client
/// cannot show an answer, because it expects TLS.
pub(super) fn hint_of_tls(first: &[u8]) {
    static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);
    if !first.starts_with(&[HANDSHAKE_RECORD, 3]) {
        return;
    }
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.is_none_or(|logged| logged.elapsed() >= TLS_HINT_INTERVAL) {
        *logged = Some(Instant::now());
        tracing::warn!("a client spoke TLS to a port of plain HTTP: it must use http://, or the port needs a certificate");
    }
}

/// Answers a request of HTTP/1 or HTTP/2 with the line of instructions. Anything else gets no answer.
pub(super) async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut stream = stream.take(PLAIN_HTTP_BYTES_MAX);
    let mut head = Vec::new();
    while (may_be_request(&head) || H2_PREFACE.starts_with(&head)) && !is_whole(&head) {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let answer = match host_of_request(&head) {
        Some(host) => text(host, head.starts_with(b"HEAD ")),
        None if head.starts_with(H2_PREFACE) => goaway(),
        None => return Ok(()),
    };
    let stream_out = stream.get_mut();
    stream_out.write_all(&answer).await?;
    stream_out.shutdown().await?;
    // Read the rest, because closing a connection with unread bytes resets it, and the client would not see the answer.
    if is_whole(&head) {
        linger::discard(stream_out).await;
    }
    Ok(())
}

/// Whether `head` begins like a method: capital letters, then a space.
fn may_be_request(head: &[u8]) -> bool {
    let letters = head.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    letters < 16 && head.get(letters).is_none_or(|byte| *byte == b' ' && letters > 0)
}

fn is_whole(head: &[u8]) -> bool {
    match head.starts_with(b"PRI ") {
        true => head.len() >= H2_PREFACE.len(),
        false => memchr::memmem::find(head, b"\r\n\r\n").is_some(),
    }
}

/// The value of `Host` if `head` begins an HTTP/1 request; empty if there is no host that can be repeated. `None` if `head` is
/// not such a request.
fn host_of_request(head: &[u8]) -> Option<&str> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_request = may_be_request(head) && lines.next()?.rsplit(|byte| *byte == b' ').next()?.starts_with(b"HTTP/1.");
    let host = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        name.eq_ignore_ascii_case(b"host").then(|| value[1..].trim_ascii())
    });
    let is_repeatable = |host: &&[u8]| {
        let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
        host.len() <= HOST_BYTES_MAX && host.iter().all(is_of_host)
    };
    let host = host.filter(is_repeatable).and_then(|host| std::str::from_utf8(host).ok());
    is_request.then(|| host.unwrap_or_default())
}

/// The answer to an HTTP/1 request, without its body if the method is HEAD.
fn text(host: &str, is_head: bool) -> Vec<u8> {
    let body = line(host);
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{}",
        body.len(),
        if is_head { "" } else { &body }
    )
    .into_bytes()
}

fn line(host: &str) -> String {
    let url = if host.is_empty() { "a URL that begins with https://".to_owned() } else { format!("https://{host}/") };
    format!("This port speaks HTTPS, and the request was plain HTTP. Use {url}\n")
}

/// The settings of an HTTP/2 server, and a GOAWAY with the line of instructions for people (RFC 9113, section 6.8). Its code is
/// INADEQUATE_SECURITY.
fn goaway() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const NO_STREAM_INADEQUATE_SECURITY: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0xc];
    let line = line("");
    let length = (NO_STREAM_INADEQUATE_SECURITY.len() + line.len()) as u8;
    [&SETTINGS[..], &[0, 0, length, 7, 0, 0, 0, 0, 0], &NO_STREAM_INADEQUATE_SECURITY, line.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(sent: &[u8]) -> String {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        answer(&mut server).await.unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_request_is_told_the_url_to_use_and_anything_else_gets_no_answer() {
        for host in ["localhost:8443", "[::1]:8443", "gate.example"] {
            let text = answered(format!("POST /v1/events HTTP/1.1\r\nAccept: */*\r\nHOST:  {host}\r\n\r\n{{}}").as_bytes()).await;
            assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with(&format!(" Use https://{host}/\n")), "{text}");
        }
        for head in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nhost: <x>\r\n\r\n", "GET / HTTP/1.1\r\n\r\nhost: a\r\n\r\n"] {
            assert!(answered(head.as_bytes()).await.ends_with(" Use a URL that begins with https://\n"), "{head}");
        }
        let other: [&[u8]; 6] =
            [b"", b"EHLO a\r\n\r\n", b"\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[0; 3000], &[b'A'; 3000]];
        for sent in other {
            assert_eq!(answered(sent).await, "", "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_head_has_no_body_in_its_answer_and_http2_is_told_in_its_own_words() {
        let text = answered(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("\r\n\r\n"), "{text}");
        let frames = answered(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.into_bytes();
        assert_eq!((frames[3], frames[12]), (4, 7), "SETTINGS and GOAWAY");
        assert_eq!(usize::from(frames[11]), frames.len() - 18);
        assert!(frames.ends_with(b" Use a URL that begins with https://\n"));
    }

    #[tokio::test]
    async fn of_a_head_that_does_not_end_only_so_much_is_read() {
        let sent = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(500_000));
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(sent.as_bytes()).await.unwrap();
        answer(&mut server).await.unwrap();
        let mut rest = vec![0; 1 << 20];
        let left = server.read(&mut rest).await.unwrap();
        assert_eq!(left as u64, sent.len() as u64 - PLAIN_HTTP_BYTES_MAX);
    }
}
