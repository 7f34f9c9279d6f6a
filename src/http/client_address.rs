//! Where a client is: its own address, or what a trusted proxy says of it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::{
    config::{AddressKept, ProxyConfig},
    limits::{FORWARDED_FOR_MAX, TRUNCATED_BITS},
};

/// The other end of a connection, as every request on it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; behind the PROXY protocol that of the client.
    pub address: IpAddr,
    /// Whether it showed a certificate that the gateway trusts.
    pub has_certificate: bool,
}

/// What is kept of `address`.
pub(super) fn kept(address: IpAddr, kept: AddressKept) -> Option<String> {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { TRUNCATED_BITS.0 } else { TRUNCATED_BITS.1 };
    match kept {
        AddressKept::None => None,
        AddressKept::Truncated => IpNet::new(address, bits).ok().map(|network| network.network().to_string()),
        AddressKept::Full => Some(address.to_string()),
    }
}

/// Whose word is taken for where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    forwarded_for: bool,
    /// Whether they begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
}

impl Proxies {
    /// As configured.
    #[must_use]
    pub fn new(config: &ProxyConfig) -> Self {
        Self { trusted: config.trusted.clone(), forwarded_for: config.forwarded_for, proxy_protocol: config.proxy_protocol }
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Where the client of a request is: the last address in `X-Forwarded-For` that is no trusted proxy, as far as the
    /// chain of trusted proxies goes. What a client writes there itself stands further to the left, and is not believed.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.forwarded_for || !self.trust(peer) {
            return client;
        }
        let lines = headers.get_all("x-forwarded-for").into_iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')).map(str::trim);
        for entry in entries.take(FORWARDED_FOR_MAX) {
            let Some(address) = address(entry) else { break };
            client = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let plain = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    plain().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
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
        let client = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", axum::http::HeaderValue::from_static(line));
            }
            proxies.client_address(ip(peer), &headers).to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "anybody can write the header");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"]), "198.51.100.1", "what the client wrote itself");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "198.51.100.1", "10.0.0.2"]), "198.51.100.1", "in several lines");
        assert_eq!(client("10.0.0.1", &["[2001:dba::7]:443,10.1.2.3:80"]), "2001:dba::7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, nonsense"]), "10.0.0.1", "what cannot be read ends it");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all of them are proxies");
        let quiet = Proxies { forwarded_for: false, ..proxies.clone() };
        assert_eq!(quiet.client_address(ip("10.0.0.1"), &HeaderMap::new()), ip("10.0.0.1"));
    }
}
