//! The same `event_uuid` several times: at once, in one request, and after a try that failed.

mod support;

use std::{collections::HashMap, sync::Arc, time::Duration};

use fastrand::Rng;
use support::{
    client::{Client, Post, Told, Wire},
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    outage::Outage,
    readback::LakeRows,
    say, seed,
};
use tokio::sync::Barrier;
use uuid::Uuid;

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
        assert_eq!(answer.told(1), [quota_full.clone()]);
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
