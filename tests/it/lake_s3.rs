//! The lake on S3. Needs the feature `s3`. Two tests want an S3 to talk to: `LAKEGATE_TEST_S3_ENDPOINT=http://127.0.0.1:PORT`
//! with a bucket `lakegate-test`, and credentials in the environment; tests/acceptance/test_lake_s3.py starts one and runs
//! them. The others run the gateway against an S3 of their own, which can be one that knows no conditional puts.
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header::CONTENT_LENGTH},
};
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
    assert!(matches!(&deliveries[..], [Delivery::Retry(cause)] if cause.contains("event_type=cart")), "{deliveries:?}");
    // Nobody listens there: the answer comes at once, since a sink does not wait to try again.
    let dead = LakeConfig { s3_endpoint: Some("http://127.0.0.1:9".to_owned()), ..config };
    let before = std::time::Instant::now();
    let deliveries = LakeSink::open(&dead).unwrap().deliver(&batch).await;
    assert!(matches!(&deliveries[..], [Delivery::Retry(_)]), "{deliveries:?}");
    assert!(before.elapsed().as_secs() < 5);
}

/// What an S3 does with `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conditions {
    Obeyed,
    Ignored,
    Unknown,
}

/// An S3 in memory: puts, gets, and lists, no signatures.
#[derive(Clone)]
struct FakeS3 {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    conditions: Conditions,
    /// Objects that were written over.
    replaced: Arc<Mutex<Vec<String>>>,
}

impl FakeS3 {
    async fn start(conditions: Conditions) -> (Self, String) {
        let s3 = Self { objects: Arc::default(), conditions, replaced: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = axum::Router::new().fallback(Self::answer).with_state(s3.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (s3, url)
    }

    async fn answer(State(s3): State<Self>, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let key = head.uri.path().trim_start_matches("/bucket").trim_start_matches('/').replace("%3D", "=");
        let query = head.uri.query().unwrap_or_default().to_owned();
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let answer = |status: StatusCode, body: Vec<u8>| {
            let response = Response::builder().status(status).header("etag", "\"0\"");
            response
                .header("last-modified", "Thu, 26 Nov 2026 15:00:00 GMT")
                .header(CONTENT_LENGTH, body.len())
                .body(Body::from(body))
                .expect("an answer")
        };
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let mut objects = s3.objects.lock().unwrap_or_else(PoisonError::into_inner);
        match (head.method.as_str(), objects.get(&key)) {
            ("PUT", found) => {
                let is_found = found.is_some();
                match (header("if-none-match").as_str(), s3.conditions) {
                    ("*", Conditions::Unknown) => {
                        return answer(StatusCode::NOT_IMPLEMENTED, b"<Error><Code>NotImplemented</Code></Error>".to_vec());
                    }
                    ("*", Conditions::Obeyed) if is_found => return answer(StatusCode::PRECONDITION_FAILED, Vec::new()),
                    _ => {}
                }
                if is_found {
                    s3.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
                }
                objects.insert(key, body.to_vec());
                answer(StatusCode::OK, Vec::new())
            }
            ("GET", _) if query.contains("list-type=2") => answer(StatusCode::OK, list(&objects, &query).into_bytes()),
            ("HEAD", Some(object)) => {
                let mut response = answer(StatusCode::OK, Vec::new());
                response.headers_mut().insert(CONTENT_LENGTH, object.len().into());
                response
            }
            ("GET", Some(object)) => {
                let range = header("range");
                let (start, end) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
                let (start, end): (usize, usize) = (start.parse().expect("a number"), end.parse().expect("a number"));
                let mut response = answer(StatusCode::PARTIAL_CONTENT, object[start..=end].to_vec());
                let range = format!("bytes {start}-{end}/{}", object.len());
                response.headers_mut().insert("content-range", range.parse().expect("a header"));
                response
            }
            _ => answer(StatusCode::NOT_FOUND, Vec::new()),
        }
    }

    /// Panics unless the lake holds exactly these events, each once.
    fn assert_exactly(&self, accepted: &HashSet<Uuid>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (key, object) in &*self.objects.lock().unwrap_or_else(PoisonError::into_inner) {
            let path = folder.path().join(key);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, object).expect("a file");
        }
        LakeRows::read(folder.path()).assert_exactly(accepted, events::good);
    }
}

fn list(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = prefix.replace("%2F", "/").replace("%3D", "=");
    let mut xml = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>".to_owned();
    for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        let modified = "2026-11-26T15:00:00.000Z";
        let size = object.len();
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>\"0\"</ETag><Size>{size}</Size></Contents>"
        );
    }
    xml + "</ListBucketResult>"
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

/// Copies of a data folder deliver into one bucket, one after the other and again, and nothing is written over.
async fn copies_keep_their_events(conditions: Conditions) {
    let (s3, url) = FakeS3::start(conditions).await;
    let folder = tempfile::tempdir().expect("a folder");
    let setup = |data: &str| {
        let setup = Setup::new(folder.path().join(data)).set("lake.root", "s3://bucket/lake").set("lake.flush_age_ms", 50);
        let setup = setup.set("lake.s3_endpoint", &url).set("lake.s3_region", "us-east-1").set("lake.s3_allow_http", true);
        setup.variable("AWS_ACCESS_KEY_ID", "test").variable("AWS_SECRET_ACCESS_KEY", "test")
    };
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
    s3.assert_exactly(&accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_data_folder_write_over_nothing_in_one_bucket() {
    copies_keep_their_events(Conditions::Obeyed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_store_does_not_know_conditional_puts() {
    copies_keep_their_events(Conditions::Unknown).await;
    copies_keep_their_events(Conditions::Ignored).await;
}
