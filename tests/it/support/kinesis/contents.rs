//! What is in a stream, as its consumers would read it: aggregates opened, lines split, events by their identity.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    kpl::{UserRecord, deaggregate},
    shards::Shard,
    stored::{Fate, Stored},
};

/// An event as often as it is in the stream.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its line, without the line end: the flat form or the envelope.
    pub line: Bytes,
    /// What became of the answer to the call that brought this copy.
    pub fate: Fate,
    /// Its place in reading order, over all records.
    pub position: usize,
    /// Index of its record in [`super::Stream::stored`], and that record's shard.
    pub stored: usize,
    pub shard: usize,
    /// Of the user's record: where records are aggregated, of the inner one.
    pub partition_key: String,
}

impl Copy {
    /// The client's own bytes, where the line is an envelope.
    pub fn payload(&self) -> Vec<u8> {
        #[derive(Deserialize)]
        struct Envelope {
            payload: String,
        }
        let envelope: Envelope = serde_json::from_slice(&self.line).unwrap_or_else(|error| panic!("{error}: {:?}", self.line));
        envelope.payload.into_bytes()
    }
}

/// All events of a stream.
#[derive(Debug, Default)]
pub struct Contents {
    /// In the order of their sequence numbers; within a record, of their places.
    pub copies: BTreeMap<Uuid, Vec<Copy>>,
    /// Lines that hold no event.
    pub unreadable: Vec<(usize, String)>,
    /// Records as stored, those of them that are aggregates, and the users' records in all.
    pub records: usize,
    pub aggregates: usize,
    pub user_records: usize,
}

impl Contents {
    /// Reads what was stored.
    pub fn read(stored: &[Stored]) -> Self {
        let mut contents = Self { records: stored.len(), ..Self::default() };
        let mut position = 0;
        for (index, record) in stored.iter().enumerate() {
            let inner = deaggregate(&record.data);
            contents.aggregates += usize::from(inner.is_some());
            let outer = || UserRecord {
                partition_key: record.partition_key.clone(),
                explicit_hash_key: record.explicit_hash_key,
                data: record.data.clone(),
            };
            for user_record in inner.unwrap_or_else(|| vec![outer()]) {
                contents.user_records += 1;
                for (line, event) in lines(&user_record.data) {
                    position += 1;
                    match event {
                        Err(error) => contents.unreadable.push((index, error)),
                        Ok(uuid) => contents.copies.entry(uuid).or_default().push(Copy {
                            line,
                            position,
                            fate: record.fate,
                            stored: index,
                            shard: record.shard,
                            partition_key: user_record.partition_key.clone(),
                        }),
                    }
                }
            }
        }
        contents
    }

    /// How many copies there are beside the first ones.
    pub fn duplicates(&self) -> usize {
        self.copies.values().map(|copies| copies.len() - 1).sum()
    }

    /// Panics unless the stream holds the `expected` events and no others, however often.
    pub fn assert_exactly(&self, expected: &HashSet<Uuid>) {
        assert!(self.unreadable.is_empty(), "{:?}", self.unreadable);
        let lost: Vec<_> = expected.iter().filter(|uuid| !self.copies.contains_key(uuid)).collect();
        assert!(lost.is_empty(), "{} of {} are not in the stream: {:?}", lost.len(), expected.len(), &lost[..lost.len().min(5)]);
        let strange: Vec<_> = self.copies.keys().filter(|uuid| !expected.contains(uuid)).collect();
        assert!(strange.is_empty(), "{} that nobody sent: {:?}", strange.len(), &strange[..strange.len().min(5)]);
    }

    /// Events of which a copy was sent although the client had been told that one before it is stored.
    pub fn unexcused_duplicates(&self) -> Vec<Uuid> {
        let is_unexcused = |copies: &[Copy]| {
            let before_last = copies.split_last().map_or(&[][..], |(_, before)| before);
            before_last.iter().any(|copy| copy.fate != Fate::Lost)
        };
        self.copies.iter().filter(|(_, copies)| is_unexcused(copies)).map(|(uuid, _)| *uuid).collect()
    }

    /// Panics where an event is in the stream twice although an answer had said that it is stored.
    pub fn assert_duplicates_are_excused(&self) {
        let wrong = self.unexcused_duplicates();
        let shown: Vec<_> = wrong.iter().take(3).map(|uuid| &self.copies[uuid]).collect();
        assert!(wrong.is_empty(), "{} events were sent again without need: {shown:#?}", wrong.len());
    }

    /// Copies of which no answer told that they are stored: at most so many duplicates are excused.
    pub fn copies_with_lost_answer(&self) -> usize {
        self.copies.values().flatten().filter(|copy| copy.fate == Fate::Lost).count()
    }

    /// The events of each partition key, in the order in which a consumer meets their first copies.
    pub fn in_order_by_key(&self) -> HashMap<String, Vec<Uuid>> {
        let mut firsts: Vec<_> = self.copies.iter().map(|(uuid, copies)| (&copies[0], *uuid)).collect();
        firsts.sort_by_key(|(copy, _)| copy.position);
        let mut by_key: HashMap<String, Vec<Uuid>> = HashMap::new();
        for (copy, uuid) in firsts {
            by_key.entry(copy.partition_key.clone()).or_default().push(uuid);
        }
        by_key
    }
}

/// The events in a record's data, aggregated or not: each line, and its identity or why it has none.
pub fn events_of(data: &Bytes) -> Vec<(Bytes, Result<Uuid, String>)> {
    match deaggregate(data) {
        Some(inner) => inner.iter().flat_map(|record| lines(&record.data)).collect(),
        None => lines(data).collect(),
    }
}

fn lines(data: &Bytes) -> impl Iterator<Item = (Bytes, Result<Uuid, String>)> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        event_uuid: Cow<'a, str>,
    }
    let body = data.strip_suffix(b"\n").unwrap_or(data);
    body.split(|byte| *byte == b'\n').map(|line| {
        let wrong = |error: &dyn std::fmt::Display| format!("{error}: {}", String::from_utf8_lossy(line));
        let event = serde_json::from_slice::<Line<'_>>(line).map_err(|error| wrong(&error));
        let event = event.and_then(|line| line.event_uuid.parse().map_err(|error| wrong(&error)));
        (data.slice_ref(line), event)
    })
}

/// The events of aggregates that KCL drops; see [`super::Stream::kcl_dropped`].
pub fn kcl_dropped(stored: &[Stored], shards: &[Shard]) -> Vec<Uuid> {
    let mut dropped = Vec::new();
    for record in stored {
        let shard = &shards[record.shard];
        let inner = deaggregate(&record.data).unwrap_or_default();
        if inner.iter().any(|inner| !shard.contains(inner.effective_hash())) {
            dropped.extend(events_of(&record.data).into_iter().filter_map(|(_, event)| event.ok()));
        }
    }
    dropped
}
