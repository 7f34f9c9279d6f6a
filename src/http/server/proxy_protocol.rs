//! The PROXY protocol, versions 1 and 2: a load balancer sends the address of its client before the client's own bytes.

use std::{io, net::IpAddr};

use ppp::{HeaderResult, v1, v2};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
};

use crate::limits::PROXY_HEADER_BYTES_MAX;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_BEGINNING: &[u8] = b"PROXY ";
/// Bytes of a version 2 header up to and including its length.
const V2_FIXED: usize = 16;
/// Bytes of the longest version 1 header, including its line end.
const V1_BYTES_MAX: usize = 107;

/// Whether a connection begins with a header, as far as its first packet shows. The bytes remain unread.
pub(super) async fn begins(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; V2_SIGNATURE.len()];
    let length = stream.peek(&mut first).await?;
    Ok(is_beginning(&first[..length]))
}

fn is_beginning(first: &[u8]) -> bool {
    let begins = |whole: &[u8]| first.starts_with(&whole[..whole.len().min(first.len())]);
    !first.is_empty() && (begins(V2_SIGNATURE) || begins(V1_BEGINNING))
}

/// Reads the header at the start of `stream`, and no byte after it. `None` if the proxy speaks for itself, as in its own health
/// checks.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        header.resize(V2_FIXED, 0);
        stream.read_exact(&mut header[V2_SIGNATURE.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if V2_FIXED + length > PROXY_HEADER_BYTES_MAX {
            return Err(malformed());
        }
        header.resize(V2_FIXED + length, 0);
        stream.read_exact(&mut header[V2_FIXED..]).await?;
    } else {
        // Version 1 has no length: read byte by byte, so that nothing after the header is consumed.
        while header.last() != Some(&b'\n') {
            if !header.starts_with(V1_BEGINNING) || header.len() >= V1_BYTES_MAX {
                return Err(malformed());
            }
            header.push(stream.read_u8().await?);
        }
    }
    client(&header).ok_or_else(malformed)
}

/// The client address in a complete header; `None` if the header is invalid.
fn client(header: &[u8]) -> Option<Option<IpAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Some(match header.addresses {
            v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Some(None),
        HeaderResult::V2(Ok(header)) => Some(match header.addresses {
            v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
            v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        _ => None,
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_whole(mut bytes: &[u8]) -> (Result<Option<String>, io::ErrorKind>, usize) {
        let read = read(&mut bytes).await.map(|client| client.map(|address| address.to_string()));
        (read.map_err(|error| error.kind()), bytes.len())
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, addresses, b"rest"].concat()
    }

    #[tokio::test]
    async fn a_header_is_read_and_nothing_beyond_it() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb];
        let v6: Vec<u8> = [0x20, 1, 0xd, 0xb8].into_iter().chain([0; 11]).chain([7]).chain([0; 20]).collect();
        // With an extension without meaning (type 4), such as clouds add.
        let extra = [v4.as_slice(), &[4, 0, 2, 0, 0]].concat();
        let cases: Vec<(Vec<u8>, Option<&str>)> = vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 443\r\nrest".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\nrest".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\nrest".to_vec(), None),
            (version_2(0x21, 0x11, &v4), Some("192.0.2.1")),
            (version_2(0x21, 0x21, &v6), Some("2001:db8::7")),
            (version_2(0x21, 0x11, &extra), Some("192.0.2.1")),
            (version_2(0x20, 0, &[]), None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_whole(&bytes).await, (Ok(expected.map(str::to_owned)), 4), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_request_is_told_from_a_header_by_its_first_bytes() {
        for first in [&b"PROXY TCP4 1"[..], b"PROXY", V2_SIGNATURE, &V2_SIGNATURE[..5]] {
            assert!(is_beginning(first), "{}", first.escape_ascii());
        }
        for first in [&b""[..], b"GET / HTTP/1", b"POST /admin/", b"PUT / HTTP/1", b"PRI * HTTP/2", b"\r\n\r\nGET / H"] {
            assert!(!is_beginning(first), "{}", first.escape_ascii());
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_before_much_of_it_is_read() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 1000]].concat();
        for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"PROXY TCP4 nonsense\r\n", &long, &version_2(0x21, 0x11, &[0; 4])] {
            assert_eq!(read_whole(bytes).await.0, Err(io::ErrorKind::InvalidData), "{}", bytes.escape_ascii());
        }
        assert!(read_whole(&long).await.1 > 800);
        assert_eq!(read_whole(&version_2(0x21, 0x11, &[0; 3000])).await.0, Err(io::ErrorKind::InvalidData));
        assert_eq!(read_whole(b"PROXY TCP4").await.0, Err(io::ErrorKind::UnexpectedEof));
    }
}
