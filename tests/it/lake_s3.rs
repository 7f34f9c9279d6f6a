//! The lake on S3. Needs the feature `s3`. Two tests want an S3 to talk to: `LAKEGATE_TEST_S3_ENDPOINT=http://127.0.0.1:PORT`
//! with a bucket `lakegate-test`, and credentials in the environment; tests/acceptance/test_lake_s3.py starts one and runs
//! them. The others run the gateway against an S3 of their own, which can be one that knows no conditional puts.
use std::{collections::HashSet, path::Path, sync::PoisonError, time::Duration};

use fastrand::Rng;
use lakegate::{
    event::{CreatedAt, Envelope, EventName, Record},
    sink::{
        Batch, Delivery, Sink,
        lake::{Filters, Lake, LakeConfig, LakeSink},
    },
};
use uuid::Uuid;

use crate::support::{
    client::{Told, Wire},
    events::{self, Form},
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::LakeRows,
    s3::{Conditions, FakeS3, download},
};

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
        is_scoped: false,
        is_late: false,
    };
    let mut buffer = Vec::new();
    // The first file is of several blocks as the reader fetches them, even compressed.
    let filler: String = (0..if number < 12 { 25_000 } else { 4 }).map(|_| Uuid::new_v4().to_string()).collect();
    envelope.encode(format!(r#"{{"number":{number},"filler":"{filler}"}}"#).as_bytes(), &mut buffer);
    Record::decode(buffer.into()).unwrap()
}

fn config(root: &str) -> LakeConfig {
    let endpoint = std::env::var("LAKEGATE_TEST_S3_ENDPOINT").expect("LAKEGATE_TEST_S3_ENDPOINT names an S3 to test with");
    let (s3_endpoint, s3_region) = (Some(endpoint), Some("us-east-1".to_owned()));
    LakeConfig { root: root.to_owned(), s3_endpoint, s3_region, s3_allow_http: true, ..LakeConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs LAKEGATE_TEST_S3_ENDPOINT: tests/acceptance/test_lake_s3.py runs it"]
async fn a_lake_on_s3_holds_each_event_once_and_answers_every_question() {
    let root = format!("s3://lakegate-test/lakes/{}", Uuid::new_v4());
    let config = config(&root);
    let sink = LakeSink::open(&config).unwrap();
    let batch = |first: u64, end: u64| Batch {
        spool_id: Uuid::from_u128(9),
        first_seq_inclusive: first,
        end_seq_exclusive: end,
        records: (first..end).map(|number| event(u128::from(number))).collect(),
    };
    // Their fillers differ each time they are made: a replay is the same records.
    let first = batch(0, 1_000);
    for stretch in [first.clone(), batch(1_000, 1_500), first] {
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
#[ignore = "needs LAKEGATE_TEST_S3_ENDPOINT: tests/acceptance/test_lake_s3.py runs it"]
async fn a_bucket_that_is_not_there_is_a_retry_with_its_cause() {
    let config = config("s3://lakegate-no-such-bucket/lake");
    let sink = LakeSink::open(&config).unwrap();
    let records = vec![event(5)];
    let batch = Batch { spool_id: Uuid::from_u128(9), first_seq_inclusive: 0, end_seq_exclusive: 1, records };
    let deliveries = sink.deliver(&batch).await;
    assert!(
        matches!(&deliveries[..], [Delivery::Retry(cause)] if cause.contains("lakegate-no-such-bucket") || cause.contains("NoSuchBucket")),
        "{deliveries:?}"
    );
    // Nobody listens there: the answer comes at once, since a sink does not wait to try again.
    let dead = LakeConfig { s3_endpoint: Some("http://127.0.0.1:9".to_owned()), ..config };
    let before = std::time::Instant::now();
    let deliveries = LakeSink::open(&dead).unwrap().deliver(&batch).await;
    assert!(matches!(&deliveries[..], [Delivery::Retry(_)]), "{deliveries:?}");
    assert!(before.elapsed().as_secs() < 5);
}

/// Panics unless the lake in the bucket has exactly these events, each once.
async fn assert_exactly(url: &str, accepted: &HashSet<Uuid>) {
    let folder = tempfile::tempdir().expect("a folder");
    download(url, "bucket", "lake/", folder.path()).await;
    LakeRows::read(&folder.path().join("lake")).assert_exactly(accepted, events::good);
}

async fn send(gateway: &Gateway, accepted: &mut HashSet<Uuid>, count: usize) {
    let mut rng = Rng::new();
    let uuids: Vec<Uuid> = (0..count).map(|_| events::identity(&mut rng)).collect();
    let bodies: Vec<Vec<u8>> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Array.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(count), vec![Told::Accepted; count]);
    accepted.extend(uuids);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            let _ = std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// A gateway with its lake in the bucket of a server of the tests.
fn on_s3(data: &Path, url: &str) -> Setup {
    let setup = Setup::new(data).set("lake.root", "s3://bucket/lake").set("lake.flush_age_ms", 50);
    let setup = setup.set("lake.s3_endpoint", url).set("lake.s3_region", "us-east-1").set("lake.s3_allow_http", true);
    setup.variable("AWS_ACCESS_KEY_ID", "test").variable("AWS_SECRET_ACCESS_KEY", "test")
}

/// Copies of a data folder deliver into one bucket, one after the other and again, and nothing is written over.
async fn copies_keep_their_events(conditions: Conditions) {
    let (s3, url) = FakeS3::start(conditions).await;
    let folder = tempfile::tempdir().expect("a folder");
    // Only a store with conditional puts can have a table.
    let table = if conditions == Conditions::Obeyed { "delta" } else { "none" };
    let setup = |data: &str| on_s3(&folder.path().join(data), &url).set("lake.table", table);
    let mut accepted = HashSet::new();
    let mut gateway = setup("image").set("lake.flush_age_ms", 3_600_000).start().await;
    send(&gateway, &mut accepted, 3).await;
    gateway.kill();
    for data in ["a", "b", "c"] {
        copy(&folder.path().join("image"), &folder.path().join(data));
    }
    for data in ["a", "b", "c", "b", "a"] {
        let gateway = setup(data).start().await;
        send(&gateway, &mut accepted, 5).await;
        Scrape::when_drained(&gateway).await;
        gateway.stop().await;
    }
    assert_eq!(*s3.replaced.lock().unwrap_or_else(PoisonError::into_inner), Vec::<String>::new());
    assert_exactly(&url, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_data_folder_write_over_nothing_in_one_bucket() {
    copies_keep_their_events(Conditions::Obeyed).await;
}

/// Two gateways could write the same version of the table, and one would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditional_puts_can_have_no_table_and_readyz_says_what_to_do() {
    for conditions in [Conditions::Unknown, Conditions::Ignored] {
        let (_s3, url) = FakeS3::start(conditions).await;
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = on_s3(folder.path(), &url).start().await;
        send(&gateway, &mut HashSet::new(), 1).await;
        let answer = gateway.until_reason("lake.table", Duration::from_secs(30)).await;
        assert!(answer.text().contains("conditional puts"), "{conditions:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_store_does_not_know_conditional_puts() {
    copies_keep_their_events(Conditions::Unknown).await;
    copies_keep_their_events(Conditions::Ignored).await;
}
