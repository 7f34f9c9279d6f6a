//! Senders that fill what all keys need: while the sink is away, a browser key gets its share of the spool and no more.

use std::{fs, path::Path, time::Duration};

use fastrand::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{
    client::{Connection, Post, Told, Wire},
    events, eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
};

const PAGE: &str = "https://menu.example";
const EVENT_BYTES: usize = 50_000;
const QUOTA_BYTES: u64 = 8_400_000;
const LIMIT: Duration = Duration::from_secs(30);

/// Writes a configuration with a key for pages, of which half of the spool is its share, one of a service, and these keys more.
fn configure(folder: &Path, more: &[&str]) {
    let key = |name: &str, more: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
    };
    let menu = key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]"));
    let more = more.iter().map(|name| key(name, "")).collect::<String>();
    fs::write(folder.join("lakegate.toml"), [menu, key("service", ""), more].concat()).expect("a file");
}

fn setup(folder: &Path) -> Setup {
    configure(folder, &[]);
    Setup::new(folder.join("data"))
        .config(folder.join("lakegate.toml"))
        .set("spool.quota_bytes", QUOTA_BYTES)
        .set("spool.segment_bytes", QUOTA_BYTES / 4)
}

struct Attacker {
    connection: Connection,
    /// What was accepted of it.
    accepted: Vec<Uuid>,
    rng: Rng,
}

fn post(key: &str, uuid: Uuid) -> Post {
    Post::json(events::good_of_size(uuid, EVENT_BYTES)).header("x-api-key", key).header("origin", PAGE)
}

impl Attacker {
    async fn new(gateway: &Gateway) -> Self {
        let connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
        Self { connection, accepted: Vec::new(), rng: Rng::new() }
    }

    /// Sends an event with this key.
    async fn send(&mut self, key: &str) -> Told {
        let uuid = events::identity(&mut self.rng);
        let answer = self.connection.post(&post(key, uuid)).await.expect("an answer");
        let told = answer.told(1).remove(0);
        match &told {
            Told::Accepted => self.accepted.push(uuid),
            // What waits for a moment must say so, and what to do.
            _ => assert_eq!(
                (answer.problem_code().as_str(), answer.header("retry-after").is_empty()),
                ("storage_unavailable", false)
            ),
        }
        told
    }

    /// Sends with the key of the pages until no more is accepted.
    async fn fill(&mut self) {
        loop {
            match self.send("menu").await {
                Told::Accepted => assert!(self.accepted.len() < 1000, "nobody stops it"),
                told => return assert_eq!(told, full()),
            }
        }
    }
}

fn full() -> Told {
    Told::Retry("key_spool_share_full".into())
}

fn held(scrape: &Scrape, key: &str) -> u64 {
    scrape.labelled("key_spool_bytes")[format!("source=\"{key}\"").as_str()] as u64
}

/// The reasons in `/readyz` with this code.
async fn reasons(gateway: &Gateway, code: &str) -> Vec<Value> {
    let answer = gateway.readiness().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let reasons = answer.json()["reasons"].as_array().expect("a list").clone();
    reasons.into_iter().filter(|reason| reason["code"] == code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_key_fills_its_share_of_the_spool_and_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).set("lake.flush_age_ms", 50).start().await;
    let outage = Outage::begin(&folder.path().join("data"));
    let mut attacker = Attacker::new(&gateway).await;
    attacker.fill().await;
    let scrape = Scrape::of(&gateway).await;
    let half = QUOTA_BYTES / 2;
    assert!((half - 2 * EVENT_BYTES as u64..=half).contains(&held(&scrape, "menu")), "{scrape:?}");
    assert_eq!((held(&scrape, "service"), scrape.sum("retry_events", "code=\"key_spool_share_full\"")), (0, 1));

    // Everybody else goes on, and what was accepted of the key is still known.
    for _ in 0..20 {
        assert_eq!((attacker.send("menu").await, attacker.send("service").await), (full(), Told::Accepted));
    }
    let again = attacker.connection.post(&post("menu", attacker.accepted[0])).await.expect("an answer");
    assert_eq!(again.told(1), [Told::Duplicate]);
    gateway.until_reason("key_share_full", LIMIT).await;
    let said = reasons(&gateway, "key_share_full").await;
    assert_eq!((said.len(), &said[0]["place"], &said[0]["blocks"]), (1, &"menu spool".into(), &false.into()), "{said:?}");

    // Another configuration gives nobody a new share.
    configure(folder.path(), &["other"]);
    gateway.hang_up();
    Scrape::when("it is in force", &gateway, |scrape| scrape.value("config_reloads") == 1).await;
    assert_eq!((attacker.send("menu").await, attacker.send("other").await), (full(), Told::Accepted));

    outage.repair();
    eventually("the key is accepted again", LIMIT, async || attacker.send("menu").await == Told::Accepted).await;
    eventually("its share is not used up any more", LIMIT, async || reasons(&gateway, "key_share_full").await.is_empty()).await;
    let drained =
        Scrape::when("nothing is held", &gateway, |scrape| scrape.labelled("key_spool_bytes").values().all(|held| *held == 0.0));
    drained.await;
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.value("delivered_events"), attacker.accepted.len() as i64);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_nothing_is_delivered_gives_a_key_no_new_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let hour = setup(folder.path()).set("lake.flush_age_ms", 3_600_000);
    let mut gateway = hour.start().await;
    let mut attacker = Attacker::new(&gateway).await;
    attacker.fill().await;
    assert_eq!(attacker.send("service").await, Told::Accepted);
    let before = Scrape::of(&gateway).await;
    gateway.kill();

    let gateway = hour.start().await;
    let counted = |scrape: &Scrape| ["menu", "service"].map(|key| held(scrape, key));
    Scrape::when("it is counted again", &gateway, |scrape| counted(scrape) == counted(&before)).await;
    let mut attacker = Attacker::new(&gateway).await;
    assert_eq!((attacker.send("menu").await, attacker.send("service").await), (full(), Told::Accepted));
    gateway.stop().await;
    let gateway = setup(folder.path()).start().await;
    Scrape::when("nothing is held", &gateway, |scrape| counted(scrape) == [0, 0]).await;
    assert_eq!(Attacker::new(&gateway).await.send("menu").await, Told::Accepted);
    gateway.stop().await;
}
