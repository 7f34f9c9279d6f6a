//! The mock cluster of librdkafka as Kafka's brokers, in the process of the test, and what is in its topics. It speaks the protocol
//! over TCP and keeps what it is given, at most 5 MB in a partition. It keeps a batch that is repeated under its sequence number, which
//! brokers do not: `repeated` says which records these are.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use tokio::net::TcpSocket;
use uuid::Uuid;

use super::{
    eventually,
    gateway::{STARTING, Setup},
};

const LIMIT: Duration = Duration::from_secs(20);

/// The brokers.
pub struct Brokers {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    brokers: i32,
    /// The ports of the brokers during an outage.
    held: Mutex<Vec<TcpSocket>>,
}

/// A record of a topic.
#[derive(Clone, Debug)]
pub struct Kept {
    pub partition: i32,
    pub offset: i64,
    /// When the producer was given it, in Unix milliseconds.
    pub sent_millis: i64,
    pub key: String,
    pub headers: HashMap<String, String>,
    pub value: Vec<u8>,
}

impl Kept {
    /// The event's identity, if it is the key.
    pub fn uuid(&self) -> Uuid {
        self.key.parse().expect("an identity")
    }
}

impl Brokers {
    /// So many brokers.
    pub fn start(count: i32) -> Self {
        Self { cluster: MockCluster::new(count).expect("brokers"), brokers: count, held: Mutex::default() }
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.cluster.create_topic(topic, partitions, 1).expect("a topic");
    }

    /// A gateway that delivers to them, into the topic `topic`.
    pub fn sink_of(&self, setup: Setup, topic: &str) -> Setup {
        let setup = setup.set("sink.kind", "kafka").set("kafka.bootstrap_servers", self.cluster.bootstrap_servers());
        setup.set("kafka.topic", topic).set("kafka.linger_ms", 20)
    }

    /// All brokers close their connections and take no new ones.
    pub fn begin_outage(&self) {
        // The mock binds its ports anew.
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        (1..=self.brokers).for_each(|broker| self.cluster.broker_down(broker).expect("a broker"));
        let addresses = self.cluster.bootstrap_servers();
        let held = addresses.split(',').map(|address| hold(address.parse().expect("an address")).expect("the port of a broker"));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held.collect();
    }

    pub fn end_outage(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        (1..=self.brokers).for_each(|broker| self.cluster.broker_up(broker).expect("a broker"));
    }

    /// Every answer comes so late.
    pub fn set_round_trip(&self, time: Duration) {
        (1..=self.brokers).for_each(|broker| self.cluster.broker_round_trip_time(broker, time).expect("a broker"));
    }

    fn consumer(&self) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", "tests");
        config.set("fetch.wait.max.ms", "10").create().expect("a consumer")
    }

    /// Of each partition the number of its records.
    fn ends(&self, consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
        let found = consumer.fetch_metadata(Some(topic), LIMIT).expect("the topic");
        let partitions = found.topics()[0].partitions();
        let end = |partition: i32| {
            let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).expect("its offsets");
            assert_eq!(low, 0, "the mock has dropped what it had");
            high
        };
        // Nobody knows what a partition without a leader has.
        partitions.iter().map(|partition| if partition.leader() < 0 { 0 } else { end(partition.id()) }).collect()
    }

    /// The number of records in a topic.
    pub fn count(&self, topic: &str) -> usize {
        tokio::task::block_in_place(|| self.ends(&self.consumer(), topic).iter().sum::<i64>() as usize)
    }

    /// Waits until a topic has so many records.
    pub async fn wait_for(&self, topic: &str, records: usize) {
        eventually(&format!("{topic} has {records} records"), Duration::from_secs(60), async || self.count(topic) >= records)
            .await;
    }

    /// All records of a topic, in the order of each partition.
    pub fn read(&self, topic: &str) -> Vec<Kept> {
        tokio::task::block_in_place(|| {
            let consumer = self.consumer();
            let ends = self.ends(&consumer, topic);
            let mut assignment = TopicPartitionList::new();
            for partition in 0..ends.len() as i32 {
                assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
            }
            consumer.assign(&assignment).expect("an assignment");
            let mut kept = Vec::new();
            while kept.len() < ends.iter().sum::<i64>() as usize {
                let message = consumer.poll(LIMIT).expect("all records come in time").expect("a record");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                kept.push(Kept {
                    partition: message.partition(),
                    offset: message.offset(),
                    sent_millis: message.timestamp().to_millis().expect("a time"),
                    key: text(message.key().unwrap_or_default()),
                    headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect(),
                    value: message.payload().unwrap_or_default().to_vec(),
                });
            }
            kept
        })
    }

    /// What a broker would have kept of a topic: the mock keeps a batch again that is repeated under its number.
    pub fn read_once(&self, topic: &str) -> Vec<Kept> {
        let repeated = self.repeated(topic);
        let is_first = |kept: &Kept| !repeated.contains(&(kept.partition, kept.offset));
        self.read(topic).into_iter().filter(is_first).collect()
    }

    /// Records that a broker would have kept more than once. Panics unless the events are `sent`.
    pub fn duplicates(&self, topic: &str, sent: &HashSet<Uuid>) -> usize {
        let kept = self.read_once(topic);
        assert_eq!(kept.iter().map(Kept::uuid).collect::<HashSet<_>>(), *sent);
        kept.len() - sent.len()
    }

    /// Partition and offset of each record of a topic that brokers would not have kept, because its batch came before under the same
    /// sequence number of the same producer.
    fn repeated(&self, topic: &str) -> HashSet<(i32, i64)> {
        tokio::task::block_in_place(|| {
            let consumer = self.consumer();
            let ends = self.ends(&consumer, topic);
            let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("the topic");
            let mut repeated = HashSet::new();
            for (partition, end) in metadata.topics()[0].partitions().iter().zip(ends) {
                let leader = metadata.brokers().iter().find(|broker| broker.id() == partition.leader()).expect("its leader");
                let mut connection = TcpStream::connect((leader.host(), leader.port() as u16)).expect("a broker");
                let mut seen = HashSet::new();
                let mut next = 0;
                while next < end {
                    for batch in fetch(&mut connection, topic, partition.id(), next).expect("batches") {
                        next = batch.offset + batch.records;
                        if !seen.insert(batch.number) {
                            repeated.extend((batch.offset..next).map(|offset| (partition.id(), offset)));
                        }
                    }
                }
            }
            repeated
        })
    }

    /// Of each event in these topics the number of its copies.
    pub fn copies(&self, topics: &[&str]) -> HashMap<Uuid, usize> {
        let mut copies = HashMap::new();
        for kept in topics.iter().flat_map(|topic| self.read(topic)) {
            *copies.entry(kept.uuid()).or_default() += 1;
        }
        copies
    }
}

/// A socket on the port of a broker that does not listen. The broker's own socket shares its port, so that the system could give the
/// port to another server, of any test, and the gateway would deliver to that one.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // From now on nobody else gets it.
    socket.set_reuseaddr(false)?;
    Ok(socket)
}

/// The head of a batch of records.
struct Batch {
    offset: i64,
    records: i64,
    /// The producer, its epoch, and the sequence number of the first record.
    number: (i64, i16, i32),
}

/// The batches of a partition from `offset` on, as many as one answer has: a request of the type Fetch, version 4, because clients
/// do not give out the sequence numbers.
fn fetch(connection: &mut TcpStream, topic: &str, partition: i32, offset: i64) -> io::Result<Vec<Batch>> {
    const NO_NAME: [u8; 2] = (-1_i16).to_be_bytes();
    let (fetch, version, number, one) = (1_i16.to_be_bytes(), 4_i16.to_be_bytes(), 7_i32.to_be_bytes(), 1_i32.to_be_bytes());
    let (wait_ms, bytes_min, bytes_max) = (100_i32.to_be_bytes(), one, 1_000_000_i32.to_be_bytes());
    let mut request = [&fetch[..], &version, &number, &NO_NAME].concat();
    // A consumer, its limits, all records, one topic.
    request.extend([&(-1_i32).to_be_bytes()[..], &wait_ms, &bytes_min, &bytes_max, &[0], &one].concat());
    request.extend([&(topic.len() as i16).to_be_bytes()[..], topic.as_bytes(), &one].concat());
    request.extend([&partition.to_be_bytes()[..], &offset.to_be_bytes(), &bytes_max].concat());
    connection.write_all(&(request.len() as i32).to_be_bytes())?;
    connection.write_all(&request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    connection.read_exact(&mut answer)?;
    let int16 = |at: usize| i16::from_be_bytes(answer[at..at + 2].try_into().expect("two bytes"));
    let int32 = |at: usize| i32::from_be_bytes(answer[at..at + 4].try_into().expect("four bytes"));
    let int64 = |at: usize| i64::from_be_bytes(answer[at..at + 8].try_into().expect("eight bytes"));
    // Number of the request, throttling, number of topics; name, number of partitions; partition, error, two offsets.
    let partition_at = 12 + 2 + topic.len() + 4;
    assert_eq!((int32(0), int16(partition_at + 4)), (7, 0), "no error");
    let aborted_at = partition_at + 22;
    let mut at = aborted_at + 4 + 16 * int32(aborted_at).max(0) as usize + 4;
    let mut batches = Vec::new();
    // The head of a batch has 61 bytes; the last batch may be cut off.
    while at + 61 <= answer.len() {
        let number = (int64(at + 43), int16(at + 51), int32(at + 53));
        batches.push(Batch { offset: int64(at), records: int32(at + 57).into(), number });
        at += 12 + int32(at + 8) as usize;
    }
    assert!(!batches.is_empty(), "there are records from {offset} on");
    Ok(batches)
}
