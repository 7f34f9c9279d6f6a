//! Who has the key of a web page and wants the lake in as many files as can be, and what becomes of the honest sender beside.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{
    client::{Answer, Client, Post, Told, Wire},
    events::{self, Form},
    gateway::Setup,
    metrics::Scrape,
    readback::{LakeRows, count_files},
};

const PAGE: &str = "https://menu.example";

/// Time between two flushes that requests wait for, as `src/limits/delivery.rs` has it.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Dates of a browser key's events at one time: four days back, one ahead, today; and the tests may run over midnight.
const DATES_MAX: usize = 7;

/// With the key of web pages `menu`, which has these lines more, and that of a service. Nothing is flushed by age.
fn setup(folder: &Path, of_menu: &str) -> Setup {
    let key = |name: &str, more: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
    };
    let menu = key("menu", &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]\n{of_menu}"));
    let config = folder.join("lakegate.toml");
    fs::write(&config, menu + &key("service", "")).expect("a file");
    Setup::new(folder.join("data"))
        .config(config)
        .set("lake.flush_age_ms", 3_600_000)
        .set("rate_limit.address_events_per_second", 0)
}

fn from(key: &str, event: &[u8]) -> Post {
    Form::Lines.post(&[event]).header("x-api-key", key).header("origin", PAGE)
}

fn waiting(key: &str, event: &[u8]) -> Post {
    from(key, event).header("prefer", "durability=delivered")
}

async fn ask(client: &Client, post: &Post) -> Answer {
    client.post(Wire::H1, post).await.expect("an answer")
}

/// A good event that says to have been created so many days ago.
fn created(days_ago: i64) -> (Uuid, Vec<u8>) {
    let uuid = events::identity(&mut Rng::new());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let event = String::from_utf8(events::small(uuid)).expect("text");
    let (before, rest) = event.split_once("\"created_at\"").expect("it says so");
    let (_, after) = rest.split_once(',').expect("more members");
    (uuid, format!("{before}\"created_at\":{},{after}", now - days_ago * 86_400).into_bytes())
}

/// The days of the lake's partitions.
fn dates(lake: &Path) -> BTreeSet<String> {
    let folders = |folder: &Path| fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let types = folders(lake).filter(|folder| folder.to_string_lossy().contains("event_type="));
    let dates = types.flat_map(|folder| folders(&folder).collect::<Vec<_>>());
    dates.filter_map(|folder| Some(folder.to_string_lossy().rsplit_once("created_date=")?.1.to_owned())).collect()
}

/// The most files that so many dates of one type can have come to since `started`.
fn files_max(dates: usize, started: Instant) -> usize {
    // One flush at once, and one for each interval begun since.
    dates * (2 + (started.elapsed().as_millis() / FLUSH_INTERVAL.as_millis()) as usize)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pages_key_that_claims_all_days_of_a_year_and_waits_for_delivery_makes_few_files_and_keeps_nobody_waiting() {
    const ATTACKS: i64 = 372;
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("data/lake");
    let gateway = setup(folder.path(), "").start().await;
    let started = Instant::now();
    let mut attackers = JoinSet::new();
    for first in 0..4 {
        let client = gateway.client();
        attackers.spawn(async move {
            let mut sent = BTreeSet::new();
            let mut connection = client.connect(Wire::H1).await.expect("it listens");
            for days_ago in (first..ATTACKS).step_by(4) {
                let (uuid, event) = created(days_ago);
                // Sent twice: the duplicate waits no more than the first.
                for told in [Told::Accepted, Told::Duplicate] {
                    let answer = connection.post(&waiting("menu", &event)).await.expect("an answer");
                    assert_eq!((answer.told(1), answer.header("preference-applied")), (vec![told], "durability=disk"));
                }
                sent.insert(uuid);
            }
            sent
        });
    }
    let mut sent = BTreeSet::new();
    let client = gateway.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..6 {
        let (uuid, event) = created(0);
        let asked = Instant::now();
        let answer = ask(&client, &waiting("service", &event)).await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!((answer.told(1), answer.header("preference-applied")), (vec![Told::Accepted], "durability=delivered"));
        let files = LakeRows::read(&lake);
        assert_eq!(files.rows[&uuid].len(), 1, "what is delivered can be read");
        sent.insert(uuid);
    }
    assert!(slowest < Duration::from_secs(5), "an honest sender waits for a flush and not for the attackers': {slowest:?}");
    for attacked in attackers.join_all().await {
        sent.extend(attacked);
    }
    gateway.stop().await;
    let files = count_files(&lake, ".parquet");
    assert!(files <= files_max(DATES_MAX, started), "{files} files after {:?}", started.elapsed());
    assert!(dates(&lake).len() <= DATES_MAX, "{:?}", dates(&lake));
    let rows = LakeRows::read(&lake).rows;
    assert!(sent.len() == ATTACKS as usize + 6 && rows.len() == sent.len(), "{} of {}", rows.len(), sent.len());
    assert!(rows.iter().all(|(uuid, rows)| sent.contains(uuid) && rows.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_delivery_share_a_flush_and_a_duplicate_is_answered_for_its_own_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("data/lake");
    let gateway = setup(folder.path(), "").start().await;
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..16 {
        let client = gateway.client();
        senders.spawn(async move {
            let mut connection = client.connect(Wire::H1).await.expect("it listens");
            for _ in 0..3 {
                let answer = connection.post(&waiting("service", &created(0).1)).await.expect("an answer");
                assert_eq!(answer.told(1), [Told::Accepted]);
            }
        });
    }
    senders.join_all().await;
    let files = count_files(&lake, ".parquet");
    assert!(files <= files_max(2, started), "48 requests waited, and there are {files} files after {:?}", started.elapsed());

    // An event that nobody waited for, and behind it another.
    let (own, event) = created(0);
    assert_eq!(ask(&gateway.client(), &from("service", &event)).await.told(1), [Told::Accepted]);
    assert!(!LakeRows::read(&lake).rows.contains_key(&own));
    assert_eq!(ask(&gateway.client(), &waiting("service", &event)).await.told(1), [Told::Duplicate]);
    assert_eq!(LakeRows::read(&lake).rows[&own].len(), 1, "the duplicate was answered when its event was there");
    let (later, behind) = created(0);
    assert_eq!(ask(&gateway.client(), &from("service", &behind)).await.told(1), [Told::Accepted]);
    let asked = Instant::now();
    assert_eq!(ask(&gateway.client(), &waiting("service", &event)).await.told(1), [Told::Duplicate]);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!LakeRows::read(&lake).rows.contains_key(&later), "a duplicate of what is delivered flushes nothing");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_a_late_event_is_decided_when_it_is_judged_whatever_a_restart_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("data/lake");
    let (narrow, wide) = ("created_days_back = 0\ncreated_days_ahead = 0", "created_days_back = 366");
    let today = created_date(0);
    for (bounds, other, days_ago, is_late) in [(narrow, wide, 40, true), (wide, narrow, 50, false), ("", wide, 5, true)] {
        let mut gateway = setup(folder.path(), bounds).start().await;
        let (uuid, event) = created(days_ago);
        let claimed = created_date(days_ago);
        assert_eq!(ask(&gateway.client(), &from("menu", &event)).await.told(1), [Told::Accepted]);
        gateway.kill();
        let before = dates(&lake);
        let gateway = setup(folder.path(), other).start().await;
        // Known again, and in the same scope.
        assert_eq!(ask(&gateway.client(), &from("menu", &event)).await.told(1), [Told::Duplicate]);
        gateway.stop().await;
        assert_eq!(LakeRows::read(&lake).rows[&uuid].len(), 1);
        let found = dates(&lake);
        assert_eq!(found.contains(&claimed), !is_late, "{claimed} of {bounds:?}: {before:?}, then {found:?}");
        assert!(!is_late || found.contains(&today) || found.contains(&created_date(0)), "{found:?}");
    }
    let gateway = setup(folder.path(), "").start().await;
    let scrape = Scrape::of(&gateway).await;
    assert_eq!(scrape.value("spool_events"), 0);
    gateway.stop().await;
}

/// The day that lies so many days back, as a folder is named.
fn created_date(days_ago: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let days = (now - days_ago * 86_400).div_euclid(86_400);
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(days));
    date.to_string()
}
