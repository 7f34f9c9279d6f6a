//! The lake on S3. Needs the feature `s3`, and an S3 to talk to: `LAKEGATE_TEST_S3_ENDPOINT=http://127.0.0.1:PORT` with a
//! bucket `lakegate-test`, and credentials in the environment. tests/acceptance/test_lake_s3.py starts one and runs this.
#![cfg(feature = "s3")]

use lakegate::{
    event::{CreatedAt, Envelope, EventName, Record},
    sink::{
        Batch, Delivery, Sink,
        lake::{Filters, Lake, LakeConfig, LakeSink},
    },
};
use uuid::Uuid;

const NOW: i64 = 1_795_219_200_000;

fn event(number: u128) -> Record {
    let name = ["menu:item:viewed", "cart:added"][number as usize % 2];
    let envelope = Envelope {
        event_uuid: Uuid::from_u128(number),
        event_name: EventName::parse(name).unwrap(),
        schema_version: Some(1),
        created_at: CreatedAt { seconds: NOW as f64 / 1e3, millis: NOW },
        received_millis: NOW + number as i64,
        source: "web",
        client_address: None,
        has_reserved_fields: false,
        names_its_version: false,
        dedup_unchecked: false,
        replayed: false,
    };
    let mut buffer = Vec::new();
    // The first file is of several blocks as the reader fetches them, even compressed.
    let filler: String = (0..if number < 12 { 25_000 } else { 4 }).map(|_| Uuid::new_v4().to_string()).collect();
    envelope.encode(format!(r#"{{"number":{number},"filler":"{filler}"}}"#).as_bytes(), &mut buffer);
    Record::decode(buffer.into()).unwrap()
}

fn config(root: &str) -> Option<LakeConfig> {
    let endpoint = std::env::var("LAKEGATE_TEST_S3_ENDPOINT").ok()?;
    let (s3_endpoint, s3_region) = (Some(endpoint), Some("us-east-1".to_owned()));
    Some(LakeConfig { root: root.to_owned(), s3_endpoint, s3_region, s3_allow_http: true })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_on_s3_holds_each_event_once_and_answers_every_question() {
    let root = format!("s3://lakegate-test/lakes/{}", Uuid::new_v4());
    let Some(config) = config(&root) else { return };
    let sink = LakeSink::open(&config).unwrap();
    let batch = |first: u64, end: u64| Batch {
        spool_id: Uuid::from_u128(9),
        first_seq_inclusive: first,
        end_seq_exclusive: end,
        records: (first..end).map(|number| event(u128::from(number))).collect(),
    };
    for stretch in [batch(0, 1_000), batch(1_000, 1_500), batch(0, 1_000)] {
        assert_eq!(sink.deliver(&stretch).await, vec![Delivery::Delivered; stretch.records.len()]);
    }

    let read = tokio::task::spawn_blocking(move || {
        let lake = Lake::open_with(&config).unwrap();
        let all = Filters::default();
        let listing = lake.ls(&all).unwrap();
        assert_eq!(listing.left_out, []);
        let found: Vec<_> = listing.partitions.iter().map(|p| (p.partition.to_string(), p.files, p.rows)).collect();
        assert!(listing.partitions[0].bytes > 2 << 20, "{listing:?}");
        let (cart, menu) = ("event_type=cart/created_date=2026-11-21", "event_type=menu/created_date=2026-11-21");
        assert_eq!(found, [(cart.to_owned(), 2, 750), (menu.to_owned(), 2, 750)]);
        assert_eq!(lake.count(&all, true).unwrap().counts.len(), 2);

        let mut identities = Vec::new();
        let export = lake.export(&all, true, &mut |row| {
            assert!(row.payload.starts_with("{\"number\":") && row.payload.ends_with("\"}"));
            identities.push(Uuid::parse_str(row.event_uuid).unwrap());
            Ok(())
        });
        assert_eq!(export.unwrap().left_out, []);
        identities.sort();
        assert_eq!(identities, (0..1_500).map(Uuid::from_u128).collect::<Vec<_>>());

        let mut places = Vec::new();
        lake.find(Uuid::from_u128(1_001), &all, &mut |found, row| {
            places.push((found.row, row.received_millis));
            Ok(())
        })
        .unwrap();
        assert_eq!(places, [(0, NOW + 1_001)]);

        let nothing = LakeConfig { root: format!("{}/nothing", config.root), ..config };
        assert_eq!(Lake::open_with(&nothing).unwrap().ls(&all).unwrap().partitions, []);
    });
    read.await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_retry_with_its_cause() {
    let Some(config) = config("s3://lakegate-no-such-bucket/lake") else { return };
    let sink = LakeSink::open(&config).unwrap();
    let records = vec![event(5)];
    let batch = Batch { spool_id: Uuid::from_u128(9), first_seq_inclusive: 0, end_seq_exclusive: 1, records };
    let deliveries = sink.deliver(&batch).await;
    assert!(matches!(&deliveries[..], [Delivery::Retry(cause)] if cause.contains("event_type=cart")), "{deliveries:?}");
    // Nobody listens there: the answer comes at once, since a sink does not wait to try again.
    let dead = LakeConfig { s3_endpoint: Some("http://127.0.0.1:9".to_owned()), ..config };
    let before = std::time::Instant::now();
    let deliveries = LakeSink::open(&dead).unwrap().deliver(&batch).await;
    assert!(matches!(&deliveries[..], [Delivery::Retry(_)]), "{deliveries:?}");
    assert!(before.elapsed().as_secs() < 5);
}
