//! Request bodies, made before the clock starts. Each is sent many times, with new identities in it each time.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use uuid::Builder;

use crate::events::{Event, UUID_CHARS};

/// One request body.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    /// Indexes of the identities.
    uuids_at: Vec<usize>,
}

/// The bodies of one kind of load.
#[derive(Debug)]
pub struct Corpus {
    bodies: Vec<Body>,
    /// Events in each body.
    pub batch: usize,
}

impl Corpus {
    /// One event in each body, or arrays of `batch` events.
    pub fn new(events: &[Event], batch: usize) -> Self {
        let bodies = events.chunks_exact(batch).map(|events| if batch == 1 { single(&events[0]) } else { array(events) });
        Self { bodies: bodies.collect(), batch }
    }

    /// A body whose events nobody has seen: a copy of one of them with new identities.
    pub fn fresh(&self) -> Bytes {
        let body = &self.bodies[fastrand::usize(..self.bodies.len())];
        let mut bytes = body.bytes.clone();
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        for at in &body.uuids_at {
            let mut random = [0; 10];
            fastrand::fill(&mut random);
            let uuid = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
            uuid.hyphenated().encode_lower(&mut bytes[*at..*at + UUID_CHARS]);
        }
        bytes.into()
    }
}

fn single(event: &Event) -> Body {
    Body { bytes: event.bytes.clone(), uuids_at: vec![event.uuid_at] }
}

fn array(events: &[Event]) -> Body {
    let mut body = Body { bytes: Vec::new(), uuids_at: Vec::with_capacity(events.len()) };
    for event in events {
        body.bytes.push(if body.bytes.is_empty() { b'[' } else { b',' });
        body.uuids_at.push(body.bytes.len() + event.uuid_at);
        body.bytes.extend_from_slice(&event.bytes);
    }
    body.bytes.push(b']');
    body
}

/// How large events are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    mean: f64,
    /// Least, 10th, 50th, 90th and 99th percentile, most.
    at: [usize; 6],
}

impl Sizes {
    /// Those of `events`.
    pub fn of(events: &[Event]) -> Self {
        let mut sizes: Vec<usize> = events.iter().map(|event| event.bytes.len()).collect();
        sizes.sort_unstable();
        let last = sizes.len().saturating_sub(1);
        let at = [0, 10, 50, 90, 99, 100].map(|percent| sizes.get(last * percent / 100).copied().unwrap_or(0));
        Self { mean: sizes.iter().sum::<usize>() as f64 / sizes.len().max(1) as f64, at }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, p10, p50, p90, p99, most] = self.at;
        write!(f, "mean {:.0} B; least {least}, p10 {p10}, p50 {p50}, p90 {p90}, p99 {p99}, most {most}", self.mean)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn event(number: usize) -> Event {
        let head = format!(r#"{{"number":{number},"event_uuid":""#);
        let bytes = format!(r#"{head}00000000-0000-0000-0000-000000000000"}}"#).into_bytes();
        Event { bytes, uuid_at: head.len() }
    }

    #[test]
    fn every_body_is_json_with_identities_that_no_other_has() {
        let events: Vec<Event> = (0..30).map(event).collect();
        for batch in [1, 10] {
            let corpus = Corpus::new(&events, batch);
            let mut seen = HashSet::new();
            for _ in 0..100 {
                let body: serde_json::Value = serde_json::from_slice(&corpus.fresh()).unwrap();
                let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
                assert_eq!(events.len(), batch);
                for event in events {
                    let uuid = uuid::Uuid::try_parse(event["event_uuid"].as_str().unwrap()).unwrap();
                    assert_eq!(uuid.get_version_num(), 7);
                    assert!(seen.insert(uuid));
                }
            }
        }
    }
}
