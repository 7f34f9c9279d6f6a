//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! The headers are sent if less than half of a bucket is left, and with every 429, because a client far from a limit need not
//! know the limit. The policies `events`, `bytes` and `requests` belong to the key; `address-events`, `address-bytes` and
//! `address-requests` belong to the client address.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::rate_limit::{Allowance, KeyRate, Policy, RateExceeded};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Reports how much of a key's buckets is left, if less than half is left.
pub(super) fn warn(rate: &KeyRate, headers: &mut HeaderMap) {
    let (mut policies, mut limits) = (String::new(), String::new());
    for (bucket, left) in rate.low() {
        let allowance = bucket.allowance();
        let until_full = (allowance.burst - left).div_ceil(allowance.per_second.max(1));
        write_policy(&mut policies, bucket.policy(), allowance);
        write_limit(&mut limits, bucket.policy(), left, until_full.into());
    }
    if !policies.is_empty() {
        insert(headers, RATE_LIMIT_POLICY, policies);
        insert(headers, RATE_LIMIT, limits);
    }
}

/// The headers of a refusal.
pub(super) fn of(exceeded: &RateExceeded) -> HeaderMap {
    let RateExceeded { policy, allowance, left, retry_after } = *exceeded;
    let mut headers = HeaderMap::new();
    let (mut policies, mut limits) = (String::new(), String::new());
    write_policy(&mut policies, policy, allowance);
    write_limit(&mut limits, policy, left, retry_after.as_secs_f64().ceil().max(1.0) as u64);
    insert(&mut headers, RATE_LIMIT_POLICY, policies);
    insert(&mut headers, RATE_LIMIT, limits);
    headers
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn write_policy(text: &mut String, policy: Policy, allowance: Allowance) {
    let comma = if text.is_empty() { "" } else { ", " };
    let unit = match policy {
        Policy::KeyEvents | Policy::AddressEvents => ";qu=\"events\"",
        Policy::KeyBytes | Policy::AddressBytes => ";qu=\"content-bytes\"",
        Policy::KeyRequests | Policy::AddressRequests => "",
    };
    let _ = write!(text, "{comma}\"{}\";q={}{unit};w={}", policy.as_str(), allowance.burst, allowance.window_seconds());
}

fn write_limit(text: &mut String, policy: Policy, left: u32, seconds: u64) {
    let comma = if text.is_empty() { "" } else { ", " };
    let _ = write!(text, "{comma}\"{}\";r={left};t={seconds}", policy.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_once_it_is_less_than_half() {
        let rate = KeyRate::new(
            Allowance { per_second: 10, burst: 100 },
            Allowance { per_second: 1_000, burst: 10_000 },
            Allowance { per_second: 1, burst: 3 },
        );
        let said = |rate: &KeyRate| {
            let mut headers = HeaderMap::new();
            warn(rate, &mut headers);
            let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
            (text(RATE_LIMIT_POLICY), text(RATE_LIMIT))
        };
        rate.events.take(50).unwrap();
        assert_eq!(said(&rate), (None, None));
        rate.events.take(20).unwrap();
        let (policy, limit) = said(&rate);
        assert_eq!(policy.unwrap(), "\"events\";q=100;qu=\"events\";w=10");
        assert_eq!(limit.unwrap(), "\"events\";r=30;t=7");
        rate.requests.take(3).unwrap();
        let (policy, limit) = said(&rate);
        assert_eq!(policy.unwrap(), "\"events\";q=100;qu=\"events\";w=10, \"requests\";q=3;w=3");
        assert_eq!(limit.unwrap(), "\"events\";r=30;t=7, \"requests\";r=0;t=3");
        let rate = KeyRate::new(rate.events.allowance(), rate.bytes.allowance(), rate.requests.allowance());
        rate.bytes.take(10_000).unwrap();
        let (policy, limit) = said(&rate);
        assert_eq!(policy.unwrap(), "\"bytes\";q=10000;qu=\"content-bytes\";w=10");
        assert!(limit.unwrap().starts_with("\"bytes\";r="));
    }
}
