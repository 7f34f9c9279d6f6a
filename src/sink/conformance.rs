//! What every sink must do, written once. A sink's tests call [`conforms`] with a way to read back what arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{Batch, Delivery, Sink};
use crate::event::{CreatedAt, Envelope, EventName, Record};

/// Holds `sink` to the contract of [`Sink`]. `read_back` says what the sink's destination holds: the identity and the
/// payload of every event, as often as it is there. The destination is empty at first, and healthy.
pub(crate) async fn conforms<R>(sink: &dyn Sink, read_back: impl Fn() -> R)
where
    R: Future<Output = Vec<(Uuid, Vec<u8>)>>,
{
    assert!(!sink.name().is_empty());

    let nothing = batch(0, Vec::new());
    assert_eq!(sink.deliver(&nothing).await, [], "an empty batch has no deliveries");
    assert_eq!(read_back().await, []);

    let first = batch(0, awkward_records());
    assert_delivered(&sink.deliver(&first).await, &first);
    assert_eq!(BTreeMap::from_iter(read_back().await), expected(&[&first]), "every event arrived, byte for byte");
    assert_eq!(read_back().await.len(), first.records.len(), "and once");

    let second = batch(1_000, plain_records(1_000, 100));
    assert_delivered(&sink.deliver(&second).await, &second);
    assert_eq!(BTreeMap::from_iter(read_back().await), expected(&[&first, &second]), "a batch takes nothing from another");

    assert_delivered(&sink.deliver(&first).await, &first);
    let arrived = read_back().await;
    assert_eq!(BTreeMap::from_iter(arrived.clone()), expected(&[&first, &second]), "a replay changes no event");
    if sink.replays_by_stretch() {
        assert_eq!(arrived.len(), first.records.len() + second.records.len(), "a replay of the same stretch adds nothing");
    }
}

fn assert_delivered(deliveries: &[Delivery], batch: &Batch) {
    assert_eq!(deliveries.len(), batch.records.len(), "one delivery per record");
    let odd = deliveries.iter().zip(&batch.records).find(|(delivery, _)| **delivery != Delivery::Delivered);
    assert!(odd.is_none(), "{:?}", odd.map(|(delivery, record)| (delivery, record.envelope())));
}

fn expected(batches: &[&Batch]) -> BTreeMap<Uuid, Vec<u8>> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    records.map(|record| (record.event_uuid(), record.payload().to_vec())).collect()
}

fn batch(first_seq_inclusive: u64, records: Vec<Record>) -> Batch {
    let end_seq_exclusive = first_seq_inclusive + records.len() as u64;
    Batch { spool_id: Uuid::from_u128(7), first_seq_inclusive, end_seq_exclusive, records }
}

/// Events whose bytes a careless sink would change, or whose envelope it would not expect.
fn awkward_records() -> Vec<Record> {
    let payloads = [
        r#"{}"#,
        " {\t\"a\" : 1.10 ,\"a\":1e+2}\n",
        r#"{"quote":"\"'\\\u0000\ud83c\udf5c","path":"../../etc"}"#,
        "{\"unicode\":\"Tiramisù 🍜 \u{2028}\u{feff}\"}",
        r#"{"number":123456789012345678901234567890.000000000000000001,"zero":-0.0}"#,
    ];
    let large = format!(r#"{{"large":"{}"}}"#, "x".repeat(900_000));
    let names = ["menu:item:viewed", "heartbeat", "a:b:c:d:e:f:g:h", "UPPER:case", "menu-2:item_3"];
    let day = 86_400_000;
    let received = 1_795_219_200_000;
    let mut records = Vec::new();
    for (number, payload) in payloads.into_iter().chain([large.as_str()]).enumerate() {
        for (name_number, name) in names.into_iter().enumerate() {
            let number = number * names.len() + name_number;
            let created = received - [0, day, 400 * day, -30 * day, received][number % 5];
            let schema_version = number.is_multiple_of(3).then_some(number as u32);
            records.push(record(number, name, schema_version, created, received, payload));
        }
    }
    assert_eq!(records.iter().map(Record::event_uuid).collect::<BTreeSet<_>>().len(), records.len());
    records
}

fn plain_records(first: usize, count: usize) -> Vec<Record> {
    let payload = |number: usize| format!(r#"{{"event_uuid":"{number}","item":{number}}}"#);
    let one = |number: usize| record(number, "menu:item:viewed", Some(1), 1_795_219_200_000, 1_795_219_201_000, &payload(number));
    (first..first + count).map(one).collect()
}

fn record(number: usize, name: &str, schema_version: Option<u32>, created: i64, received: i64, payload: &str) -> Record {
    let envelope = Envelope {
        event_uuid: Uuid::from_u128(0xaaaa_0000 + number as u128),
        event_name: EventName::parse(name).unwrap(),
        schema_version,
        created_at: CreatedAt { seconds: created as f64 / 1e3, millis: created },
        received_millis: received,
        source: "web",
        has_reserved_fields: false,
        names_its_version: false,
        dedup_unchecked: false,
    };
    let mut buffer = Vec::new();
    envelope.encode(payload.as_bytes(), &mut buffer);
    Record::decode(Bytes::from(buffer)).unwrap()
}

mod tests {
    use super::*;
    use crate::sink::lake::{Lake, LakeConfig, LakeSink};

    #[tokio::test]
    async fn the_lake_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        let sink = LakeSink::open(&LakeConfig::at(&root)).unwrap();
        conforms(&sink, || async { lake_events(&root) }).await;
    }

    fn lake_events(root: &str) -> Vec<(Uuid, Vec<u8>)> {
        let mut events = Vec::new();
        let export = Lake::open(root).unwrap().export(&Default::default(), false, &mut |row| {
            events.push((Uuid::parse_str(row.event_uuid).unwrap(), row.payload.as_bytes().to_vec()));
            Ok(())
        });
        assert_eq!(export.unwrap().left_out, []);
        events
    }
}
