//! The address of a client: the address of its connection, or the address that a trusted proxy reports.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::{
    body_budget::AddressBodies,
    config::{AddressKept, ProxyConfig},
    limits::{FORWARDED_FOR_MAX, TRUNCATED_BITS},
};

/// The other end of a connection, available to every request on the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the peer; with the PROXY protocol, the address of the client.
    pub address: IpAddr,
    /// Whether a proxy used the PROXY protocol and named no client. The address is then the proxy's, but the requests may come
    /// from anyone, so their headers are not trusted.
    pub is_unnamed: bool,
    /// The memory that request bodies from this address hold; `None` on the listener for operators.
    pub bodies: Option<Arc<AddressBodies>>,
    /// Whether the peer presented a certificate that the gateway trusts.
    pub has_certificate: bool,
}

/// The form of `address` that is stored.
pub(super) fn kept(address: IpAddr, kept: AddressKept) -> Option<String> {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { TRUNCATED_BITS.0 } else { TRUNCATED_BITS.1 };
    match kept {
        AddressKept::None => None,
        AddressKept::Truncated => IpNet::new(address, bits).ok().map(|network| network.network().to_string()),
        AddressKept::Full => Some(address.to_string()),
    }
}

/// The proxies that are trusted to report client addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    forwarded_for: bool,
    /// Whether the proxies begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
}

impl Proxies {
    /// Reads the configuration.
    #[must_use]
    pub fn new(config: &ProxyConfig) -> Self {
        Self { trusted: config.trusted.clone(), forwarded_for: config.forwarded_for, proxy_protocol: config.proxy_protocol }
    }

    /// Whether `address` is a trusted proxy.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The client address of a request: the last address in `X-Forwarded-For` that is not a trusted proxy. Addresses that the
    /// client writes itself stand further left and are not trusted. They cannot break the parsing of the others either, because
    /// each element is parsed separately. An element that is not an address ends the chain.
    #[must_use]
    pub fn client_address(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.address;
        if !self.forwarded_for || peer.is_unnamed || !self.trust(client) {
            return client;
        }
        let lines = headers.get_all("x-forwarded-for").into_iter().rev();
        let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        // RFC 9110, section 5.6.1, allows empty list elements.
        for element in elements.take(FORWARDED_FOR_MAX).filter(|element| !element.is_empty()) {
            let Some(address) = address(element) else { break };
            client = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
/// IPv6 may have a zone after `%`; the zone is ignored because it has a meaning on the proxy only.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let without_zone = |text: &str| text.split_once('%').map_or(text, |(address, _)| address).parse::<std::net::Ipv6Addr>();
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
            is_port.then_some(IpAddr::V6(without_zone(address).ok()?))?
        }
        None if text.contains('%') => IpAddr::V6(without_zone(text).ok()?),
        None => text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_address_names_a_network_and_nobody_in_it() {
        let kept = |address: &str, how| kept(address.parse().unwrap(), how);
        assert_eq!(kept("203.0.113.77", AddressKept::Truncated).as_deref(), Some("203.0.113.0"));
        assert_eq!(kept("::ffff:203.0.113.77", AddressKept::Truncated).as_deref(), Some("203.0.113.0"));
        assert_eq!(kept("2001:db8:1:2:3::4", AddressKept::Truncated).as_deref(), Some("2001:db8:1::"));
        assert_eq!(kept("2001:db8:1:2:3::4", AddressKept::Full).as_deref(), Some("2001:db8:1:2:3::4"));
        assert_eq!(kept("203.0.113.77", AddressKept::None), None);
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_forwarded_address_is_believed_as_far_as_the_chain_of_trusted_proxies_goes() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
        let proxies = Proxies::new(&ProxyConfig { trusted, ..ProxyConfig::default() });
        let peer = |address: &str| Peer { address: ip(address), is_unnamed: false, bodies: None, has_certificate: false };
        let headers = |lines: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(line).unwrap());
            }
            headers
        };
        let of_bytes =
            |address: &str, lines: &[&'static [u8]]| proxies.client_address(&peer(address), &headers(lines)).to_string();
        let client = |address: &str, lines: &[&'static str]| {
            of_bytes(address, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "anybody can write the header");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"]), "198.51.100.1", "what the client wrote itself");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "198.51.100.1", "10.0.0.2"]), "198.51.100.1", "in several lines");
        assert_eq!(client("10.0.0.1", &["[2001:dba::7]:443,10.1.2.3:80"]), "2001:dba::7");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all of them are proxies");
        // The client's element cannot be read; the proxy's element after it can.
        assert_eq!(of_bytes("10.0.0.1", &[b"\xff\xfe, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(of_bytes("10.0.0.1", &[b"\xff", b"198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["nonsense, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.1, , 10.0.0.2,"]), "198.51.100.1", "empty elements are none");
        // The proxy's element is not an address: the chain ends there.
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"]), "10.0.0.2");
        for (written, read) in [
            ("198.51.100.1:1234", "198.51.100.1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
            ("[2001:dba::7]", "2001:dba::7"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
        ] {
            assert_eq!(client("10.0.0.1", &[written]), read, "{written}");
        }
        for wrong in
            ["[[2001:dba::7]]", "198.51.100.1]", "[198.51.100.1]", "[2001:dba::7]x", "198.51.100.1:port", "198.51.100.1%a"]
        {
            assert_eq!(client("10.0.0.1", &[wrong]), "10.0.0.1", "{wrong}");
        }
        let unnamed = Peer { is_unnamed: true, ..peer("10.0.0.1") };
        assert_eq!(proxies.client_address(&unnamed, &headers(&[b"198.51.100.1"])), ip("10.0.0.1"), "PROXY UNKNOWN");
        let quiet = Proxies { forwarded_for: false, ..proxies.clone() };
        assert_eq!(quiet.client_address(&peer("10.0.0.1"), &headers(&[b"198.51.100.1"])), ip("10.0.0.1"));
    }
}
