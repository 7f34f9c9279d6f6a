//! The web pages that may use a key, as patterns for the `Origin` that browsers send.

use std::collections::HashSet;

/// A set of origins.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    exact: HashSet<Box<[u8]>>,
    subdomains: Vec<Subdomains>,
}

/// `https://*.menu.example`
#[derive(Debug, PartialEq, Eq)]
struct Subdomains {
    before: Box<[u8]>,
    behind: Box<[u8]>,
}

impl Origins {
    /// The origins that match `patterns`: see `KeyConfig::allowed_origins`.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut origins = Self::default();
        for pattern in patterns {
            match pattern.split_once('*') {
                None => drop(origins.exact.insert(pattern.as_bytes().into())),
                Some(("", "")) => origins.any = true,
                Some((before, behind)) => {
                    let subdomains = Subdomains { before: before.as_bytes().into(), behind: behind.as_bytes().into() };
                    if !origins.subdomains.contains(&subdomains) {
                        origins.subdomains.push(subdomains);
                    }
                }
            }
        }
        origins
    }

    /// Whether `origin` is in the set.
    #[must_use]
    pub fn contain(&self, origin: &[u8]) -> bool {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        self.any
            || self.exact.contains(origin)
            || self.subdomains.iter().any(|Subdomains { before, behind }| {
                let name = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**behind));
                // Without anything behind it, the `*` is a port: see `lakegate dev`.
                let is_part = |byte: &u8| if behind.is_empty() { byte.is_ascii_digit() } else { is_name(byte) };
                name.is_some_and(|name| !name.is_empty() && name.iter().all(is_part))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_as_a_whole_or_by_its_subdomain() {
        let origins = Origins::new(["https://menu.example", "https://*.cafe.example", "http://localhost:5173"]);
        for allowed in ["https://menu.example", "https://a.cafe.example", "https://a.b.cafe.example", "http://localhost:5173"] {
            assert!(origins.contain(allowed.as_bytes()), "{allowed}");
        }
        for refused in [
            "http://menu.example",
            "https://menu.example.evil",
            "https://www.menu.example",
            "https://menu.example:8443",
            "https://cafe.example",
            "https://.cafe.example.evil",
            "https://evil/.cafe.example",
            "https://evil:80/.cafe.example",
            "http://a.cafe.example",
            "null",
            "*",
            "",
        ] {
            assert!(!origins.contain(refused.as_bytes()), "{refused}");
        }
        let local = Origins::new(["http://localhost:*"]);
        assert!(local.contain(b"http://localhost:5173") && !local.contain(b"http://localhost:"));
        assert!(!local.contain(b"http://localhost:1.evil.example") && !local.contain(b"http://localhost"));
        assert!(Origins::new(["*"]).contain(b"null"));
        assert!(!Origins::new([]).contain(b""));
    }
}
