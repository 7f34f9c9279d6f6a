//! The same `event_uuid` several times: at once, in one request, and after a try that failed.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use sha2::{Digest, Sha256};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::support::{
    client::{Client, Post, Told, Wire},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::{LakeRows, dead_letters},
    say, seed,
};

const TWINS: usize = 16;

/// The event that twin number `twin` sends: the same identity, bytes of its own.
fn twin_event(uuid: Uuid, twin: usize) -> Vec<u8> {
    events::good_of_size(uuid, 1_000 + twin)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_twins_at_once_one_is_accepted_and_that_one_is_in_the_lake() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_TWINS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("lake.flush_age_ms", 50).start().await;
    let rounds: Arc<[Uuid]> = (0..24).map(|_| events::identity(&mut rng)).collect();
    let barrier = Arc::new(Barrier::new(TWINS));
    let tasks: Vec<_> =
        (0..TWINS).map(|twin| tokio::spawn(send_twin(twin, gateway.client(), rounds.clone(), barrier.clone()))).collect();
    let mut told: HashMap<Uuid, Vec<(usize, Told)>> = HashMap::new();
    for (twin, task) in tasks.into_iter().enumerate() {
        for (uuid, outcome) in rounds.iter().zip(task.await.expect("every twin is answered")) {
            told.entry(*uuid).or_default().push((twin, outcome));
        }
    }

    let in_flight = Told::Retry("in_flight".into());
    let mut met_in_flight = 0;
    let mut accepted_twin = HashMap::new();
    for (uuid, told) in &told {
        let accepted: Vec<_> = told.iter().filter(|(_, told)| *told == Told::Accepted).collect();
        assert_eq!(accepted.len(), 1, "{uuid}: {told:?}");
        let others = told.iter().filter(|(_, told)| *told != Told::Accepted);
        assert!(others.clone().all(|(_, told)| *told == Told::Duplicate || *told == in_flight), "{uuid}: {told:?}");
        met_in_flight += others.filter(|(_, told)| *told == in_flight).count();
        accepted_twin.insert(*uuid, accepted[0].0);
    }
    // Whoever was told to retry learns the event's fate.
    let again: Vec<_> = rounds.iter().map(|uuid| twin_event(*uuid, 0)).collect();
    let answer = gateway.client().post(Wire::H2, &Form::Array.post(&again)).await.expect("an answer");
    assert_eq!(answer.told(again.len()), vec![Told::Duplicate; again.len()]);
    gateway.stop().await;

    let lake = LakeRows::read(&folder.path().join("lake"));
    lake.assert_exactly(&rounds.iter().copied().collect(), |uuid| twin_event(uuid, accepted_twin[&uuid]));
    say(format_args!("twins: {} identities from {TWINS} connections at once; {met_in_flight} were told in_flight", rounds.len()));
}

/// Sends each identity at the same moment as the other twins do.
async fn send_twin(twin: usize, client: Client, rounds: Arc<[Uuid]>, barrier: Arc<Barrier>) -> Vec<Told> {
    let wire = if twin.is_multiple_of(2) { Wire::H1 } else { Wire::H2 };
    let mut connection = client.connect(wire).await.expect("it is ready");
    let mut told = Vec::new();
    for uuid in rounds.iter() {
        let post = Post::json(twin_event(*uuid, twin));
        barrier.wait().await;
        told.extend(connection.post(&post).await.expect("an answer").told(1));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_in_the_same_request_is_a_duplicate_of_the_first() {
    let mut rng = Rng::new();
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("lake.flush_age_ms", 50).start().await;
    let (one, other) = (events::identity(&mut rng), events::identity(&mut rng));
    // The same identity in another spelling is the same identity.
    let shouted = String::from_utf8(events::small(one)).expect("text").replace(&one.to_string(), &one.to_string().to_uppercase());
    let bodies = [twin_event(one, 1), events::small(other), shouted.into_bytes(), twin_event(one, 2)];
    let expected = [Told::Accepted, Told::Accepted, Told::Duplicate, Told::Duplicate];
    for form in [Form::Lines, Form::Wrapper] {
        let answer = gateway.client().post(Wire::H1, &form.post(&bodies)).await.expect("an answer");
        let first_time = form == Form::Lines;
        let expected = if first_time { expected.to_vec() } else { vec![Told::Duplicate; 4] };
        assert_eq!(answer.told(4), expected);
        assert_eq!(answer.status, 202);
    }
    gateway.stop().await;
    let expected = [one, other].into_iter().collect();
    let payload = |uuid| if uuid == one { twin_event(one, 1) } else { events::small(other) };
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&expected, payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_accepted_later_and_is_never_called_a_duplicate() {
    let mut rng = Rng::new();
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 50);
    let gateway = setup.set("spool.segment_bytes", 2_100_000).set("spool.quota_bytes", 4_200_000).start().await;
    let outage = Outage::begin(folder.path());
    let mut expected = fill(&gateway, &mut rng).await;

    // Refused alone, with a twin, and beside one that is stored: again and again, and never a duplicate.
    let (refused, stored) = (events::identity(&mut rng), expected.keys().copied().next().expect("some were stored"));
    let quota_full = Told::Retry("quota_full".into());
    let large = twin_event_of_megabyte(refused);
    for _ in 0..3 {
        let answer = gateway.client().post(Wire::H1, &Post::json(large.clone())).await.expect("an answer");
        assert_eq!(answer.told(1), std::slice::from_ref(&quota_full));
        assert_eq!(answer.problem_code(), "storage_unavailable");
        let bodies = [large.clone(), twin_event_of_megabyte(stored), large.clone()];
        let answer = gateway.client().post(Wire::H2, &Form::Array.post(&bodies)).await.expect("an answer");
        assert_eq!(answer.told(3), [quota_full.clone(), Told::Duplicate, quota_full.clone()]);
    }

    outage.repair();
    let client = gateway.client();
    eventually("the event is accepted", Duration::from_secs(60), async || {
        match client.post(Wire::H1, &Post::json(large.clone())).await.expect("an answer").told(1).as_slice() {
            [Told::Accepted] => true,
            [told] if *told == quota_full => false,
            told => panic!("{told:?}"),
        }
    })
    .await;
    expected.insert(refused, large.len());
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let lake = LakeRows::read(&folder.path().join("lake"));
    lake.assert_exactly(&expected.keys().copied().collect(), |uuid| events::good_of_size(uuid, expected[&uuid]));
}

fn twin_event_of_megabyte(uuid: Uuid) -> Vec<u8> {
    events::good_of_size(uuid, 1_000_000)
}

/// Sends events until there is no room for one of a megabyte. The sizes of those that were accepted.
async fn fill(gateway: &Gateway, rng: &mut Rng) -> HashMap<Uuid, usize> {
    let mut connection = gateway.client().connect(Wire::H2).await.expect("it is ready");
    let mut accepted = HashMap::new();
    loop {
        let uuid = events::identity(rng);
        let event = twin_event_of_megabyte(uuid);
        match connection.post(&Post::json(event.clone())).await.expect("an answer").told(1).as_slice() {
            [Told::Accepted] => accepted.insert(uuid, event.len()),
            [Told::Retry(_)] => return accepted,
            told => panic!("{told:?}"),
        };
    }
}

const PAGE: &str = "https://menu.example";

/// A gateway with two browser keys and two server keys, which are called as their secrets.
fn with_keys(folder: &Path, browser_keys: &[&str], server_keys: &[&str]) -> Setup {
    let hash = |name: &str| Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = |name: &str| format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{}\"\n", hash(name));
    let browser = browser_keys.iter().map(|name| key(name) + &format!("kind = \"browser\"\nallowed_origins = [\"{PAGE}\"]\n"));
    let keys: String = browser.chain(server_keys.iter().map(|name| key(name))).collect();
    let config = folder.join("lakegate.toml");
    std::fs::write(&config, keys).expect("a file");
    Setup::new(folder.join("data")).config(config).set("lake.flush_age_ms", 50)
}

fn from(key: &str, body: Vec<u8>) -> Post {
    Post::json(body).without("x-api-key").header("x-api-key", key).header("origin", PAGE)
}

async fn told(client: &Client, key: &str, body: Vec<u8>) -> Told {
    client.post(Wire::H2, &from(key, body)).await.expect("an answer").told(1).remove(0)
}

/// The payment of a service.
fn payment(uuid: Uuid) -> Vec<u8> {
    events::good_of_size(uuid, 600)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_with_a_browser_key_makes_the_event_of_another_a_duplicate() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_TWINS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let setup = with_keys(folder.path(), &["page", "other"], &["service", "second"]);
    let gateway = setup.start().await;
    let client = gateway.client();
    let taken = events::identity(&mut rng);
    // Whoever guesses the UUID comes first, on a page and as a pixel.
    assert_eq!(told(&client, "page", twin_event(taken, 1)).await, Told::Accepted);
    assert_eq!(told(&client, "other", twin_event(taken, 2)).await, Told::Accepted);
    assert_eq!(told(&client, "service", payment(taken)).await, Told::Accepted);
    // Each is a duplicate of its own; the server keys are one scope.
    for key in ["page", "other", "service", "second"] {
        assert_eq!(told(&client, key, twin_event(taken, 3)).await, Told::Duplicate, "{key}");
    }
    // The other way round.
    let first = events::identity(&mut rng);
    assert_eq!(told(&client, "second", payment(first)).await, Told::Accepted);
    assert_eq!(told(&client, "page", twin_event(first, 1)).await, Told::Accepted);
    // A pixel's event is in the scope of its key, too.
    let event = String::from_utf8(events::small(events::identity(&mut rng))).expect("text");
    let seen: serde_json::Value = serde_json::from_str(&event).expect("JSON");
    let uuid: Uuid = seen["event_uuid"].as_str().and_then(|text| text.parse().ok()).expect("a UUID");
    let pixel = |key: &str| {
        let e = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &event);
        format!("/v1/pixel.gif?key={key}&e={e}")
    };
    assert_eq!(client.get(&pixel("page")).await.expect("an answer").status, 200);
    assert_eq!(told(&client, "page", event.clone().into_bytes()).await, Told::Duplicate);
    assert_eq!(told(&client, "service", event.clone().into_bytes()).await, Told::Accepted);
    gateway.stop().await;

    let mode = std::fs::metadata(folder.path().join("data/dedup/secret")).expect("the secret").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lake = LakeRows::read(&folder.path().join("data/lake"));
    assert_eq!([taken, first, uuid].map(|uuid| lake.rows[&uuid].len()), [3, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_of_an_event_outlives_restarts_and_what_its_key_has_become() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_TWINS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<Uuid> = (0..40).map(|_| events::identity(&mut rng)).collect();
    let mut gateway = with_keys(folder.path(), &["page"], &["service"]).start().await;
    for uuid in &all {
        assert_eq!(told(&gateway.client(), "page", events::small(*uuid)).await, Told::Accepted);
    }
    // Killed, so that the window is given back by the spool; then sealed, by a stop.
    gateway.kill();
    let gateway = with_keys(folder.path(), &["page"], &["service"]).start().await;
    assert_eq!(told(&gateway.client(), "page", events::small(all[0])).await, Told::Duplicate);
    gateway.stop().await;
    // The key is a service's from now on: what it sent before is no duplicate of the services' events, nor theirs of it.
    let mut gateway = with_keys(folder.path(), &[], &["service", "page"]).start().await;
    assert_eq!(told(&gateway.client(), "service", events::small(all[1])).await, Told::Accepted);
    assert_eq!(told(&gateway.client(), "page", events::small(all[1])).await, Told::Duplicate);
    assert_eq!(told(&gateway.client(), "page", events::small(all[2])).await, Told::Accepted);
    gateway.kill();
    // And back: the page's own events are known still.
    let gateway = with_keys(folder.path(), &["page"], &["service"]).start().await;
    for uuid in &all {
        assert_eq!(told(&gateway.client(), "page", events::small(*uuid)).await, Told::Duplicate, "{uuid}");
    }
    assert_eq!(told(&gateway.client(), "service", events::small(all[2])).await, Told::Duplicate);
    assert_eq!(told(&gateway.client(), "service", events::small(all[3])).await, Told::Accepted);
    gateway.stop().await;
    let lake = LakeRows::read(&folder.path().join("data/lake"));
    let twice: HashSet<Uuid> = lake.rows.iter().filter(|(_, rows)| rows.len() == 2).map(|(uuid, _)| *uuid).collect();
    assert_eq!(twice, all[1..4].iter().copied().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_with_another_payload_is_counted_and_kept_once() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_TWINS_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let setup = with_keys(folder.path(), &["page"], &["service"]);
    let mut gateway = setup.start().await;
    let letters = || dead_letters(&folder.path().join("data/dead-letters"));
    let conflicts = async |gateway: &Gateway| Scrape::of(gateway).await.sum("conflicting_duplicates", "source=\"service\"");
    let uuid = events::identity(&mut rng);
    assert_eq!(told(&gateway.client(), "service", twin_event(uuid, 0)).await, Told::Accepted);
    // A retry has the same payload, and is none; nor is the event of another scope.
    assert_eq!(told(&gateway.client(), "service", twin_event(uuid, 0)).await, Told::Duplicate);
    assert_eq!(told(&gateway.client(), "page", twin_event(uuid, 1)).await, Told::Accepted);
    assert_eq!((conflicts(&gateway).await, letters().len()), (0, 0));

    // A hundred times the same, half of them at once.
    let client = gateway.client();
    let at_once = (0..50).map(|_| {
        tokio::spawn({
            let client = client.clone();
            async move { told(&client, "service", twin_event(uuid, 1)).await }
        })
    });
    for told in at_once.collect::<Vec<_>>() {
        assert_eq!(told.await.expect("an answer"), Told::Duplicate);
    }
    for _ in 0..50 {
        assert_eq!(told(&client, "service", twin_event(uuid, 1)).await, Told::Duplicate);
    }
    assert_eq!(conflicts(&gateway).await, 100);
    let kept = letters();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].code(), &kept[0].raw[..]), ("conflicting_duplicate", &twin_event(uuid, 1)[..]));
    assert_eq!((&kept[0].line["source"], &kept[0].line["event_uuid"]), (&"service".into(), &uuid.to_string().into()));

    // Twins in one body, beside one that is the same and one that is rejected.
    let twin = events::identity(&mut rng);
    let bad = events::bad_of_kind(events::identity(&mut rng), 0);
    let bodies = [twin_event(twin, 0), twin_event(twin, 1), bad.bytes, twin_event(twin, 0), twin_event(uuid, 2)];
    let post = Form::Array.post(&bodies).without("x-api-key").header("x-api-key", "service");
    let answer = client.post(Wire::H1, &post).await.expect("an answer");
    let expected = [Told::Accepted, Told::Duplicate, Told::Rejected(bad.code.into()), Told::Duplicate, Told::Duplicate];
    assert_eq!(answer.told(5), expected);
    assert_eq!((conflicts(&gateway).await, letters().len()), (102, 4));

    // Known across a crash and across sealing, and so is its letter.
    gateway.kill();
    let gateway = setup.start().await;
    assert_eq!(told(&gateway.client(), "service", twin_event(twin, 0)).await, Told::Duplicate);
    assert_eq!(conflicts(&gateway).await, 0);
    gateway.stop().await;
    let gateway = setup.start().await;
    for _ in 0..2 {
        assert_eq!(told(&gateway.client(), "service", twin_event(twin, 1)).await, Told::Duplicate);
    }
    assert_eq!((conflicts(&gateway).await, letters().len()), (2, 4));
    Scrape::when_drained(&gateway).await.assert_ledger();
    gateway.stop().await;
    let lake = LakeRows::read(&folder.path().join("data/lake"));
    assert_eq!([uuid, twin].map(|uuid| lake.rows[&uuid].len()), [2, 1]);
}
