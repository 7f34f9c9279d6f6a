//! The kind of the sink is changed while events are spooled: what the first sink has is not delivered again, and the rest is
//! delivered by the second. From each of the lake, Kinesis, Firehose and, in a
//! build that has it, Kafka to each other.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use uuid::Uuid;

#[cfg(feature = "kafka")]
use crate::support::kafka::Brokers;
use crate::support::{
    client::{Told, Wire},
    events::Form,
    eventually,
    gateway::{Gateway, Setup},
    kinesis::{Fault, KinesisServer, Service, Stream},
    metrics::Scrape,
    readback::LakeRows,
    streaming::identities,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Events of each of two types. The lake takes one type and not the other; a stream takes some of both.
const EVENTS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lake,
    Stream(Service),
    #[cfg(feature = "kafka")]
    Kafka,
}

const KINDS: &[Kind] = &[
    Kind::Lake,
    Kind::Stream(Service::Kinesis),
    Kind::Stream(Service::Firehose),
    #[cfg(feature = "kafka")]
    Kind::Kafka,
];

/// The topic of Kafka, with a partition that takes events and one that does not while another sink is to get a part.
#[cfg(feature = "kafka")]
const TOPIC: &str = "events";

/// A gateway's folder, and every sink that it may have.
struct Sinks {
    folder: tempfile::TempDir,
    server: KinesisServer,
    streams: HashMap<&'static str, Stream>,
    #[cfg(feature = "kafka")]
    brokers: Brokers,
}

impl Sinks {
    async fn new() -> Self {
        let server = KinesisServer::start(7).await;
        let streams = Service::BOTH.map(|service| (service.name(), server.create(service, service.name(), 2)));
        #[cfg(feature = "kafka")]
        let brokers = Brokers::start(1);
        #[cfg(feature = "kafka")]
        brokers.create(TOPIC, 2);
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            streams: streams.into(),
            server,
            #[cfg(feature = "kafka")]
            brokers,
        }
    }

    fn setup(&self, kind: Kind) -> Setup {
        let setup = Setup::new(self.folder.path().join("data")).set("schemas.unknown_events", "accept");
        match kind {
            Kind::Lake => setup.set("lake.flush_age_ms", 50),
            #[cfg(feature = "kafka")]
            Kind::Kafka => self.brokers.sink_of(setup, TOPIC).set("kafka.delivery_timeout_ms", 1_000),
            Kind::Stream(service) => {
                let setup = setup.with_stream_of(service, &self.server, service.name());
                setup.set(&format!("{}.linger_ms", service.name()), 20)
            }
        }
    }

    /// Every event in a sink, as often as it is there.
    fn contents(&self, kind: Kind) -> Vec<Uuid> {
        let copies: Vec<(Uuid, usize)> = match kind {
            Kind::Lake => {
                let lake = LakeRows::read(&self.folder.path().join("data/lake"));
                lake.rows.into_iter().map(|(uuid, rows)| (uuid, rows.len())).collect()
            }
            #[cfg(feature = "kafka")]
            Kind::Kafka => self.brokers.copies(&[TOPIC]).into_iter().collect(),
            Kind::Stream(service) => {
                let contents = self.streams[service.name()].contents();
                contents.copies.into_iter().map(|(uuid, copies)| (uuid, copies.len())).collect()
            }
        };
        let mut events: Vec<Uuid> = copies.into_iter().flat_map(|(uuid, copies)| std::iter::repeat_n(uuid, copies)).collect();
        events.sort_unstable();
        events
    }

    /// Sends events of which the sink takes a part only, so that what is settled lies beyond the cursor, and kills the gateway.
    async fn deliver_a_part(&self, kind: Kind) -> HashSet<Uuid> {
        if kind == Kind::Lake {
            let folder = self.folder.path().join("data/lake");
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("event_type=broken"), "in the way").expect("a file");
        }
        #[cfg(feature = "kafka")]
        self.brokers.cluster.partition_leader(TOPIC, 1, None).expect("no leader");
        let mut gateway = self.setup(kind).start().await;
        if let Kind::Stream(service) = kind {
            self.streams[service.name()].set(Fault::RecordFailed, 0.5);
        }
        let sent = send(&gateway).await;
        let has_some = async || self.contents(kind).len() >= EVENTS / 2;
        eventually("the sink has a part", LIMIT, has_some).await;
        if let Kind::Stream(service) = kind {
            self.streams[service.name()].set(Fault::RecordFailed, 1.0);
        }
        let are_read = |scrape: &Scrape| scrape.value("delivered_events") as usize == self.contents(kind).len();
        Scrape::when("its answers were read", &gateway, are_read).await;
        gateway.kill();
        #[cfg(feature = "kafka")]
        self.brokers.cluster.partition_leader(TOPIC, 1, Some(1)).expect("a leader");
        sent
    }
}

async fn send(gateway: &Gateway) -> HashSet<Uuid> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let uuids = identities(2 * EVENTS);
    let event = |(index, uuid): (usize, &Uuid)| {
        let name = if index < EVENTS { "broken:thing" } else { "good:thing" };
        format!(r#"{{"event_uuid":"{uuid}","event_name":"{name}","created_at":{now}}}"#)
    };
    let bodies: Vec<String> = uuids.iter().enumerate().map(event).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Lines.post(&bodies)).await.expect("an answer");
    assert_eq!(answer.told(bodies.len()), vec![Told::Accepted; bodies.len()], "{answer:?}");
    uuids.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_sink_loses_nothing_and_delivers_nothing_again() {
    for from in KINDS.iter().copied() {
        for to in KINDS.iter().copied().filter(|to| *to != from) {
            let sinks = Sinks::new().await;
            let sent = sinks.deliver_a_part(from).await;
            let first = sinks.contents(from);
            let gateway = sinks.setup(to).start().await;
            Scrape::when_drained(&gateway).await.assert_ledger();
            gateway.stop().await;
            let second = sinks.contents(to);
            assert!(!first.is_empty() && !second.is_empty(), "{from:?} to {to:?}: {} and {}", first.len(), second.len());
            assert_eq!(sinks.contents(from), first, "{from:?} to {to:?}: the first sink is left alone");
            let all: HashSet<Uuid> = first.iter().chain(&second).copied().collect();
            assert_eq!(all, sent, "{from:?} to {to:?}");
            assert_eq!(first.len() + second.len(), sent.len(), "{from:?} to {to:?}: each event is in one of them, once");
        }
    }
}
