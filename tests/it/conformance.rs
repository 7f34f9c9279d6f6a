//! What every sink must do, written once and run through the whole gateway: whatever clients send arrives once, with the
//! bytes that they wrote, and neither repetitions nor restarts add anything. A sink has a way to be read back, no more.

use std::{collections::BTreeMap, path::Path};

use uuid::Uuid;

#[cfg(feature = "kafka")]
use crate::support::kafka::{Brokers, Kept};
use crate::support::{
    client::{Told, Wire},
    events::{Form, bad_of_kind},
    gateway::{Gateway, Setup},
    kinesis::{KinesisServer, Service, Stream},
    lines::LineForm,
    metrics::Scrape,
    readback::{LakeRows, dead_letters},
    streaming::identities,
};

/// Events by their identity: the bytes that the client wrote.
type Events = BTreeMap<Uuid, Vec<u8>>;

/// A sink that is read back.
enum Sink {
    Lake,
    #[cfg(feature = "kafka")]
    Kafka {
        brokers: Brokers,
        format: &'static str,
    },
    Stream {
        service: Service,
        server: Box<KinesisServer>,
        stream: Stream,
        aggregation: &'static str,
        form: LineForm,
    },
}

impl Sink {
    async fn stream(service: Service, aggregation: &'static str, form: LineForm) -> Self {
        let server = Box::new(KinesisServer::start(3).await);
        let stream = server.create(service, "events", 3);
        Self::Stream { service, server, stream, aggregation, form }
    }

    /// A gateway on `folder` that delivers to it.
    fn setup(&self, folder: &Path) -> Setup {
        let setup = Setup::new(folder).set("schemas.unknown_events", "accept");
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka { brokers, format } => brokers.sink_of(setup, "events").set("kafka.format", format),
            Self::Lake => setup.set("lake.flush_age_ms", 50),
            Self::Stream { service, server, aggregation, form, .. } => {
                let key = |key: &str| format!("{}.{key}", service.name());
                let setup = setup.with_stream_of(*service, server, "events").set(&key("linger_ms"), 20);
                setup.set(&key("aggregation"), aggregation).set(&key("format"), form.name())
            }
        }
    }

    /// Panics unless it holds exactly these events, each once and untouched.
    fn assert_exactly(&self, folder: &Path, events: &Events) {
        match self {
            Self::Lake => {
                LakeRows::read(&folder.join("lake"))
                    .assert_exactly(&events.keys().copied().collect(), |uuid| events[&uuid].clone());
            }
            #[cfg(feature = "kafka")]
            Self::Kafka { brokers, format } => {
                let kept = brokers.read("events");
                let found: Vec<Uuid> = kept.iter().map(Kept::uuid).collect();
                assert_eq!(found.len(), events.len(), "each once");
                for (uuid, kept) in found.iter().zip(&kept) {
                    match *format {
                        "flat" => LineForm::Flat.assert_holds(&kept.value, &events[uuid]),
                        "envelope" => LineForm::Envelope.assert_holds(&kept.value, &events[uuid]),
                        _ => assert!(kept.value == events[uuid], "{uuid}: the bytes that its client wrote"),
                    }
                }
            }
            Self::Stream { stream, form, .. } => {
                let contents = stream.contents();
                contents.assert_exactly(&events.keys().copied().collect());
                assert_eq!(contents.duplicates(), 0, "each once");
                for (uuid, copies) in &contents.copies {
                    form.assert_holds(&copies[0].line, &events[uuid]);
                }
                assert!(stream.kcl_dropped().is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_conforms() {
    conforms(&Sink::Lake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_flat_events_conforms_however_they_are_packed() {
    stream_conforms(Service::Kinesis, LineForm::Flat).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_envelopes_conforms_however_they_are_packed() {
    stream_conforms(Service::Kinesis, LineForm::Envelope).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_stream_conforms_in_both_forms_however_events_are_packed() {
    for form in [LineForm::Flat, LineForm::Envelope] {
        stream_conforms(Service::Firehose, form).await;
    }
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_conforms_in_every_format() {
    for format in ["flat", "envelope", "cloudevents"] {
        let brokers = Brokers::start(1);
        brokers.create("events", 3);
        conforms(&Sink::Kafka { brokers, format }).await;
    }
}

async fn stream_conforms(service: Service, form: LineForm) {
    for aggregation in service.aggregations() {
        conforms(&Sink::stream(service, aggregation, form).await).await;
    }
}

/// Events whose bytes a careless sink would change, or whose envelope it would not expect.
fn awkward() -> Events {
    let members = [
        String::new(),
        ",\"a\" : 1.10 ,\t\"b\":1e+2,\r\n \"c\":\t-0.0E-5".into(),
        r#","quote":"\"'\\\u0000\ud83c\udf5c\/","path":"../../etc","":{}"#.into(),
        ",\"unicode\":\"Tiramisù 🍜 \u{2028}\u{feff}\u{7f}\"".into(),
        r#","number":123456789012345678901234567890.000000000000000001,"more":1e400,"zero":-0"#.into(),
        r#","source":{"mine":[1]},"event_type":null,"created_datetime":7,"event_subtype":"x","received_datetime":[]"#.into(),
        r#","schema_version":2147483647,"payload":"{}","dedup":"mine","partition_key":"k""#.into(),
        format!(",\"deep\":{}1{}", "[".repeat(30), "]".repeat(30)),
        // Letters by chance: what inflates a hundred times is refused.
        format!(",\"large\":\"{}\"", (0..450_000).map(|_| ['é', 'è', 'ü', 'ß'][fastrand::usize(..4)]).collect::<String>()),
        format!(",\"wide\":{{{}}}", (0..2_000).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(",")),
    ];
    let names = ["menu:item:tasted", "heartbeat", "a:b:c:d:e:f:g:h", "upper2:case_3:x-y"];
    // 1970, 2001, today, 2100, 9999.
    let times = ["0.001", "1000000000", "1795219200.123456789", "4102444800.5", "253402300799"];
    let mut events = Events::new();
    for (number, members) in members.iter().enumerate() {
        for (index, uuid) in identities(4).into_iter().enumerate() {
            let (name, time) = (names[(number + index) % names.len()], times[(number + 2 * index) % times.len()]);
            let space = ["", " ", "\n\n", "  \t"][index];
            let head = format!("{{{space}\"event_uuid\":\"{uuid}\",\"event_name\":\"{name}\",\"created_at\":{time}");
            // One of the largest ones is enough.
            if members.len() < 100_000 || index == 0 {
                events.insert(uuid, format!("{head}{members}{space}}}").into_bytes());
            }
        }
    }
    events
}

fn plain(count: usize) -> Events {
    let event =
        |uuid: &Uuid| format!(r#"{{"event_uuid":"{uuid}","event_name":"order:placed","created_at":1795219200,"of":"{uuid}"}}"#);
    identities(count).into_iter().map(|uuid| (uuid, event(&uuid).into_bytes())).collect()
}

/// Sends `events`, some of them with a twin behind them, and expects that each is told `told`.
async fn send(gateway: &Gateway, events: &Events, told: &Told) {
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    let all: Vec<&Vec<u8>> = events.values().collect();
    for (number, part) in all.chunks(25).enumerate() {
        let mut bodies = part.to_vec();
        bodies.extend(part.iter().take(2));
        let form = [Form::Array, Form::Wrapper, Form::PlainText, Form::GzipArray][number % 4];
        let answer = connection.post(&form.post(&bodies)).await.expect("an answer");
        let found = answer.told(bodies.len());
        assert!(found[..part.len()].iter().all(|found| found == told), "{found:?}");
        assert!(found[part.len()..].iter().all(|found| *found == Told::Duplicate), "twins: {found:?}");
    }
}

/// The events that the sink and the dead letters got in this life of the gateway, when all is delivered.
async fn settled(gateway: &Gateway) -> (i64, i64) {
    let drained = Scrape::when_drained(gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.value("spool_appended_events"), drained.outcomes()[0], "accepted = appended: {drained:?}");
    assert_eq!(drained.value("maybe_duplicate_events"), 0);
    (drained.value("delivered_events"), drained.value("dead_letters"))
}

async fn conforms(sink: &Sink) {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = sink.setup(folder.path());
    let mut gateway = setup.start().await;
    let mut events = awkward();
    send(&gateway, &events, &Told::Accepted).await;
    send(&gateway, &events, &Told::Duplicate).await;
    let bad: Vec<_> = (0..5).zip(identities(5)).map(|(kind, uuid)| bad_of_kind(uuid, kind).bytes).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Lines.post(&bad)).await.expect("an answer");
    assert_eq!(answer.status, 422, "{answer:?}");
    let settled_so = settled(&gateway).await;
    let letters = dead_letters(&folder.path().join("dead-letters"));
    let refused: Vec<_> = letters.iter().filter(|letter| letter.code() == "refused_by_sink").map(|letter| &letter.line).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(settled_so, (events.len() as i64, 5));
    sink.assert_exactly(folder.path(), &events);

    // A graceful end, right behind what was acknowledged last.
    let more = plain(300);
    send(&gateway, &more, &Told::Accepted).await;
    events.extend(more);
    gateway.stop().await;
    sink.assert_exactly(folder.path(), &events);

    gateway = setup.start().await;
    send(&gateway, &events, &Told::Duplicate).await;
    let more = plain(300);
    send(&gateway, &more, &Told::Accepted).await;
    assert_eq!(settled(&gateway).await, (300, 0), "nothing is delivered a second time");
    events.extend(more);
    // A kill when all is delivered, with nothing more than that written down.
    gateway.kill();
    gateway = setup.start().await;
    send(&gateway, &events, &Told::Duplicate).await;
    let again = settled(&gateway).await;
    // The kill may come before the cursor is written. Then the last range goes to the lake again, which has its files already.
    let is_in_the_lake = matches!(sink, Sink::Lake) && again == (300, 0);
    assert!(again == (0, 0) || is_in_the_lake, "nothing is delivered a second time: {again:?}");
    gateway.stop().await;
    sink.assert_exactly(folder.path(), &events);
    assert_eq!(dead_letters(&folder.path().join("dead-letters")).len(), 5);
}
