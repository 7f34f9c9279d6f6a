//! A gateway that delivers to a stream of our own Kinesis, and clients that send to it what is easy to find again.

use std::{collections::HashSet, time::Duration};

use fastrand::Rng;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    client::{Answer, Client, Connection, Post, Told, Wire},
    events::{self, Form},
    gateway::{Gateway, Setup},
    kinesis::{KinesisServer, Service, Stream},
    metrics::Scrape,
};

/// Time in which the stream must have what was sent.
pub const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);

/// A stream, and how a gateway in front of it is started.
pub struct Rig {
    pub service: Service,
    pub folder: TempDir,
    pub server: KinesisServer,
    pub stream: Stream,
    pub setup: Setup,
}

impl Rig {
    /// A stream `events` with so many shards, and a gateway that does not let events wait for others.
    pub async fn with_shards(shards: usize) -> Self {
        Self::of(Service::Kinesis, shards).await
    }

    /// The same with a stream of a service.
    pub async fn of(service: Service, shards: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = KinesisServer::start(7).await;
        let stream = server.create(service, "events", shards);
        let setup = Setup::new(folder.path()).with_stream_of(service, &server, "events");
        Self { service, folder, server, stream, setup }.tuned("linger_ms", 20)
    }

    /// With a key of the stream's own section of the configuration.
    pub fn tuned(self, key: &str, value: impl std::fmt::Display) -> Self {
        let key = format!("{}.{key}", self.service.name());
        self.set(&key, value)
    }

    /// With a configuration key.
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.setup = self.setup.set(key, value);
        self
    }

    /// Waits until all is delivered, checks the ledger and what arrived, and stops the gateway.
    pub async fn finish(&self, gateway: Gateway, sent: &HashSet<Uuid>) {
        let drained = Scrape::when_drained(&gateway).await;
        drained.assert_ledger();
        gateway.stop().await;
        let contents = self.stream.contents();
        contents.assert_exactly(sent);
        contents.assert_duplicates_are_excused();
    }
}

/// New identities.
pub fn identities(count: usize) -> Vec<Uuid> {
    let mut rng = Rng::new();
    (0..count).map(|_| events::identity(&mut rng)).collect()
}

/// A request with a small event of each identity.
pub fn small(uuids: &[Uuid]) -> Post {
    Form::Array.post(&uuids.iter().map(|uuid| events::small(*uuid)).collect::<Vec<_>>())
}

/// A request that asks to be answered when the stream has its events.
pub fn until_delivered(uuids: &[Uuid]) -> Post {
    small(uuids).header("prefer", "durability=delivered")
}

/// Sends `post` with `count` events that must all be accepted.
pub async fn accepted(connection: &mut Connection, post: &Post, count: usize) -> Answer {
    let answer = connection.post(post).await.expect("an answer");
    assert_eq!(answer.told(count), vec![Told::Accepted; count], "{answer:?}");
    answer
}

/// Sends `count` small events, in requests of 500 at most.
pub async fn send(client: &Client, count: usize) -> HashSet<Uuid> {
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let uuids = identities(count);
    for uuids in uuids.chunks(500) {
        accepted(&mut connection, &small(uuids), uuids.len()).await;
    }
    uuids.into_iter().collect()
}
