//! The records to send: events in the stream's format, packed.
//!
//! ```text
//! none     one event, one record, placed by its partition key
//! kpl      several events in the KPL's format (see `kpl.rs`)
//! ndjson   several events, one per line
//! ```
//!
//! A packed record, and in the KPL's format every event in it, has one explicit hash key. KCL silently drops a whole aggregate
//! if the place of an inner event is outside the shard that it was read from; with one place for all events this cannot happen,
//! even if the shards change between sending and reading.

use super::{
    entry::Entry,
    kpl::{self, KplSize},
    place::HashKey,
};
use crate::config::Aggregation;

/// One record of a call, and its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// The events in it, in the order of the spool.
    pub entries: Vec<Entry>,
    /// Its place, if the key alone does not determine it.
    pub explicit_place: Option<HashKey>,
    /// Its bytes, if they are not equal to those of its only event.
    packed: Option<Vec<u8>>,
}

impl StreamRecord {
    /// Its partition key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.entries.first().map_or("", |entry| &entry.key)
    }

    /// Its bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.packed.as_deref().unwrap_or_else(|| self.entries.first().map_or(&[], |entry| &entry.data))
    }

    /// Bytes that count against the limits of a call and of a shard.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data().len() + self.key().len()
    }
}

/// How events become records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// The format.
    pub aggregation: Aggregation,
    /// Bytes of a packed record.
    pub bytes_max: usize,
    /// Events in a packed record.
    pub events_max: usize,
    /// Whether the events in a packed record share its first event's partition key. Allowed if the key only identifies the
    /// event; saves the bytes of the key.
    pub shares_key: bool,
}

impl Packing {
    /// Whether events are packed at all.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.aggregation != Aggregation::None
    }

    /// One record with all of these entries.
    #[must_use]
    pub fn record(&self, entries: Vec<Entry>) -> StreamRecord {
        let explicit_place = self.is_packed().then(|| entries[0].place);
        let packed = match self.aggregation {
            // A single event is not packed: readers that unpack aggregates also accept plain records.
            _ if entries.len() == 1 => None,
            Aggregation::Kpl => Some(kpl::encode(&entries, self.shares_key)),
            _ => Some(entries.iter().flat_map(|entry| &entry.data).copied().collect()),
        };
        StreamRecord { entries, explicit_place, packed }
    }
}

/// An unfinished record: events of one shard, in order.
#[derive(Debug)]
pub struct RecordBuilder {
    packing: Packing,
    entries: Vec<Entry>,
    size: Size,
}

#[derive(Debug)]
enum Size {
    Full,
    Kpl(KplSize),
    Lines(usize),
}

impl RecordBuilder {
    /// Begins with `first`, which may have any size.
    #[must_use]
    pub fn new(packing: Packing, first: Entry) -> Self {
        let size = match packing.aggregation {
            Aggregation::None => Size::Full,
            Aggregation::Kpl => Size::Kpl(KplSize::new(packing.shares_key, &first)),
            Aggregation::Ndjson => Size::Lines(first.key.len() + first.data.len()),
        };
        Self { packing, entries: vec![first], size }
    }

    /// Whether `next` still fits.
    #[must_use]
    pub fn has_room_for(&self, next: &Entry) -> bool {
        let bytes = match &self.size {
            Size::Full => return false,
            Size::Kpl(size) => size.with(next),
            Size::Lines(bytes) => bytes + next.data.len(),
        };
        bytes <= self.packing.bytes_max && self.entries.len() < self.packing.events_max
    }

    /// Appends `next`.
    pub fn push(&mut self, next: Entry) {
        match &mut self.size {
            Size::Full => {}
            Size::Kpl(size) => size.add(&next),
            Size::Lines(bytes) => *bytes += next.data.len(),
        }
        self.entries.push(next);
    }

    /// The record.
    #[must_use]
    pub fn finish(self) -> StreamRecord {
        self.packing.record(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_filled_up_to_its_bound_and_not_beyond(
            sizes in prop::collection::vec(1_usize..3_000, 1..400),
            aggregation in prop_oneof![Just(Aggregation::None), Just(Aggregation::Kpl), Just(Aggregation::Ndjson)],
            shares_key in any::<bool>(),
        ) {
            let packing = Packing { aggregation, bytes_max: 20_000, events_max: 500, shares_key };
            let entry = |(seq, size): (usize, &usize)| Entry {
                seq: seq as u64,
                key: format!("{seq:036}").into(),
                place: 7,
                data: vec![b'x'; *size].into(),
                headers_bytes: 0, is_maybe_sent: false,
            };
            let mut waiting = sizes.iter().enumerate().map(entry).peekable();
            let mut next_seq = 0;
            while let Some(first) = waiting.next() {
                let mut builder = RecordBuilder::new(packing, first);
                while let Some(next) = waiting.next_if(|next| builder.has_room_for(next)) {
                    builder.push(next);
                }
                let record = builder.finish();
                prop_assert!(record.entries.iter().map(|entry| entry.seq).eq(next_seq..next_seq + record.entries.len() as u64));
                next_seq += record.entries.len() as u64;
                prop_assert!(record.size() <= 20_000);
                prop_assert_eq!(record.explicit_place, packing.is_packed().then_some(7));
                // No event that would have fitted is left out.
                if let (true, Some(next)) = (packing.is_packed(), waiting.peek()) {
                    prop_assert!(record.size() + next.data.len() + 120 > 20_000, "{} {}", record.size(), next.data.len());
                }
            }
            prop_assert_eq!(next_seq as usize, sizes.len());
        }
    }
}
