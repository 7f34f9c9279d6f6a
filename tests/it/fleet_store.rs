//! The dedup store of a fleet, through the library: a model of what claims may answer, TLS, and what it costs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use lakegate::{
    dedup::{Claim, Claimed, Deduplicator, Fleet, FleetConfig, Identity, Scopes, Window, WindowConfig},
    telemetry::Metrics,
};
use uuid::Uuid;

use crate::support::{
    cannot_run,
    client::{Post, Told, Wire},
    events,
    gateway::{Gateway as GatewayProcess, Setup},
    metrics::Scrape,
    say, seed,
    store::StoreServer,
};

fn config(store: &StoreServer, gateway: u128) -> FleetConfig {
    FleetConfig {
        url: store.url(),
        key_prefix: "lakegate:".into(),
        deadline: Duration::from_secs(5),
        claim_ttl: Duration::from_secs(600),
        window: Duration::from_secs(600),
        gateway: Uuid::from_u128(gateway),
        scopes: Scopes::random(),
        conditions: lakegate::conditions::Conditions::default(),
    }
}

fn identities(ids: &[Uuid]) -> Vec<Identity> {
    ids.iter().map(|id| Identity::unknown(*id)).collect()
}

/// One gateway's half of the test: its window and its link to the store. Restarted, it is the same gateway, and its window
/// is given back what was durable.
struct Gateway {
    _folder: tempfile::TempDir,
    dedup: Deduplicator,
    fleet: Fleet,
    next_mark: u64,
}

impl Gateway {
    async fn start(store: &StoreServer, number: u128, durable: &[Uuid]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (window, _) = Window::open(WindowConfig::new(folder.path()), 1).unwrap();
        window.restore(identities(durable).into_iter().zip(0..), 1).unwrap();
        let fleet = Fleet::start(config(store, number), Arc::new(Metrics::new())).unwrap();
        fleet.when_tried().await;
        assert_eq!(fleet.failing(), None);
        assert!(fleet.reconfirm(identities(durable)).await);
        let dedup = Deduplicator::new(window, Some(fleet.clone()));
        Self { _folder: folder, dedup, fleet, next_mark: durable.len() as u64 }
    }

    /// Ends without telling the store anything more.
    async fn die(self) {
        self.fleet.close(Duration::ZERO).await;
    }
}

/// What is true of an identity, whatever the gateways know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    /// A batch of this gateway owns it, or owned it when the gateway died.
    Claimed(usize),
    /// A batch of this gateway gave it up, which the store may never hear of if the gateway is killed.
    Released(usize),
    /// Its event is durable at this gateway.
    Durable(usize),
}

/// A batch that is neither confirmed nor dropped: its identities, and what it owns.
struct Open {
    gateway: usize,
    fresh: Vec<Uuid>,
    claimed: Claimed,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_gateways_do_an_identity_has_one_owner_and_once_durable_it_is_a_duplicate() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_FLEET_SEED"));
    let store = StoreServer::start(&[]).await;
    let mut gateways = Vec::new();
    for number in 0..3 {
        gateways.push(Gateway::start(&store, number, &[]).await);
    }
    // What the gateways are asked about; what is durable is replaced by something new, now and then.
    let mut ids: Vec<Uuid> = (0..12).map(|_| events::identity(&mut rng)).collect();
    let mut truth: BTreeMap<Uuid, Truth> = BTreeMap::new();
    // What the store may not have been told yet: to other gateways it is still in flight.
    let mut untold = BTreeSet::new();
    let mut open: Vec<Open> = Vec::new();
    let mut met = BTreeMap::new();
    for _ in 0..1_500 {
        let at = rng.usize(..gateways.len());
        match rng.u8(..20) {
            0 => {
                // Killed: its batches are gone, and what it had not told. Back, its spool knows what was durable.
                let (mine, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| open.gateway == at);
                open = others;
                let durable =
                    truth.iter().filter(|(_, truth)| **truth == Truth::Durable(at)).map(|(id, _)| *id).collect::<Vec<_>>();
                gateways.remove(at).die().await;
                drop(mine);
                gateways.insert(at, Gateway::start(&store, at as u128, &durable).await);
                confirmed(&store, &durable).await;
                untold.retain(|id| !durable.contains(id));
            }
            1..=8 if !open.is_empty() => {
                let Open { gateway, fresh, claimed } = open.swap_remove(rng.usize(..open.len()));
                if rng.bool() {
                    if let Some(in_store) = claimed.confirm_here(gateways[gateway].next_mark) {
                        in_store.confirm();
                    }
                    gateways[gateway].next_mark += fresh.len() as u64;
                    truth.extend(fresh.iter().map(|id| (*id, Truth::Durable(gateway))));
                    untold.extend(fresh.iter().copied());
                    if rng.bool() {
                        confirmed(&store, &fresh).await;
                        untold.retain(|id| !fresh.contains(id));
                    }
                } else {
                    drop(claimed);
                    truth.extend(fresh.iter().map(|id| (*id, Truth::Released(gateway))));
                    if rng.bool() {
                        released(&store, &fresh).await;
                        truth.retain(|id, _| !fresh.contains(id));
                    }
                }
            }
            _ => {
                let asked: Vec<Uuid> = (0..rng.usize(1..6)).map(|_| rng.choice(&ids).copied().unwrap()).collect();
                let mut claimed = gateways[at].dedup.claim(&identities(&asked), 1).await.unwrap();
                let mut fresh = Vec::new();
                let outcomes = claimed.take_outcomes();
                for (index, (id, claim)) in asked.iter().zip(&outcomes).enumerate() {
                    assert!(!claimed.is_unchecked(index));
                    let is_open = open.iter().any(|open| open.fresh.contains(id));
                    *met.entry(format!("{claim:?}").chars().take(5).collect::<String>()).or_insert(0) += 1;
                    match (claim, truth.get(id)) {
                        (Claim::Fresh, None) => fresh.push(*id),
                        // Its own, from before it was killed.
                        (Claim::Fresh, Some(Truth::Claimed(owner))) if *owner == at && !is_open => fresh.push(*id),
                        (Claim::TwinOf(first), _) => assert!(asked[*first] == *id && fresh.contains(id)),
                        (Claim::Duplicate { .. }, Some(Truth::Durable(_))) => {}
                        (Claim::InFlight, Some(Truth::Claimed(owner))) if *owner != at || is_open => {}
                        (Claim::Fresh, Some(Truth::Released(_))) => fresh.push(*id),
                        (Claim::InFlight, Some(Truth::Released(owner))) if *owner != at => {}
                        (Claim::InFlight, Some(Truth::Durable(owner))) if *owner != at && untold.contains(id) => {}
                        (claim, truth) => panic!("gateway {at} was told {claim:?} of {id}, which is {truth:?}, open: {is_open}"),
                    }
                }
                truth.extend(fresh.iter().map(|id| (*id, Truth::Claimed(at))));
                assert_eq!(claimed.fresh_len(), fresh.len());
                if !fresh.is_empty() {
                    open.push(Open { gateway: at, fresh, claimed });
                }
            }
        }
        let replaced = rng.usize(..ids.len());
        if rng.u8(..8) == 0 && matches!(truth.get(&ids[replaced]), Some(Truth::Durable(_))) {
            ids[replaced] = events::identity(&mut rng);
        }
    }
    say(format_args!("fleet model: {met:?}"));
    assert!(met.len() == 4, "every answer was met: {met:?}");
    drop(open);
    for gateway in gateways {
        gateway.die().await;
    }
}

/// Waits until the store knows that these are durable.
async fn confirmed(store: &StoreServer, ids: &[Uuid]) {
    crate::support::eventually("they are confirmed in the store", Duration::from_secs(10), async || {
        ids.is_empty() || store.values(ids).iter().all(|value| value.as_deref() == Some(b"1"))
    })
    .await;
}

/// Waits until the store knows of no claim of these.
async fn released(store: &StoreServer, ids: &[Uuid]) {
    crate::support::eventually("they are released in the store", Duration::from_secs(10), async || {
        store.values(ids).iter().all(Option::is_none)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_comes_late_touches_neither_a_newer_claim_nor_a_confirmation() {
    let store = StoreServer::start(&[]).await;
    let gateway = Gateway::start(&store, 7, &[]).await;
    let ids = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];
    let claimed = gateway.dedup.claim(&identities(&ids), 1).await.unwrap();
    assert_eq!(claimed.fresh_len(), 3);
    // Meanwhile, as if the release had waited: claimed anew by the same gateway, and confirmed by another.
    let mut newer = store.value(ids[0]).expect("a claim");
    *newer.last_mut().expect("a token") ^= 1;
    let set = |id: Uuid, value: &[u8]| {
        let key = [b"lakegate:".as_slice(), id.as_bytes()].concat();
        redis::cmd("SET").arg(key).arg(value).exec(&mut store.connect()).expect("the store answers");
    };
    set(ids[0], &newer);
    set(ids[1], b"1");
    drop(claimed);
    gateway.fleet.close(Duration::from_secs(10)).await;
    assert_eq!(store.values(&ids), [Some(newer), Some(b"1".to_vec()), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_store_is_asked_as_well() {
    let Some((store, certificate)) = StoreServer::start_with_tls().await else {
        return cannot_run("a store over TLS", "this server was built without it; Debian's redis-server has it");
    };
    let url = store.url().replace("redis://", "rediss://");
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("dedup.store", "redis").set("dedup.redis.url", url);
    let setup = setup.set("dedup.redis.deadline_ms", 5000).variable("SSL_CERT_FILE", &certificate.display().to_string());
    let gateway = setup.start().await;
    gateway.until_logged("the shared dedup store answers", 1).await;
    let post = Post::json(events::small(Uuid::new_v4()));
    assert_eq!(gateway.client().post(Wire::H1, &post).await.expect("an answer").told(1), [Told::Accepted]);
    assert_eq!(Scrape::of(&gateway).await.value("dedup_unchecked_events"), 0);
    gateway.stop().await;
}

/// `LAKEGATE_STORE_IDENTITIES=1000000 cargo test --test it fleet_store::memory -- --nocapture` says it for a million.
#[tokio::test(flavor = "multi_thread")]
async fn memory_for_each_identity_is_below_what_the_readme_says() {
    let count: u32 = std::env::var("LAKEGATE_STORE_IDENTITIES").map_or(120_000, |text| text.parse().expect("a number"));
    let store = StoreServer::start(&["--appendonly", "no"]).await;
    let fleet = Fleet::start(config(&store, 0), Arc::new(Metrics::new())).unwrap();
    fleet.when_tried().await;
    let before = store.info("used_memory");
    let mut rng = Rng::new();
    let started = Instant::now();
    let mut left = count;
    while left > 0 {
        let portion = left.min(10_000);
        assert!(
            fleet
                .reconfirm((0..portion).map(|_| Identity { id: events::identity(&mut rng), fingerprint: rng.u32(1..) }).collect())
                .await
        );
        left -= portion;
    }
    fleet.close(Duration::from_secs(120)).await;
    let took = started.elapsed();
    let bytes = (store.info("used_memory") - before) as f64 / f64::from(count);
    say(format_args!("fleet: {count} identities took {took:?} to confirm, and {bytes:.1} bytes each in the store"));
    assert!(bytes < 160.0, "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_claim_in_the_store_adds_to_a_request() {
    let store = StoreServer::start(&[]).await;
    let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    let alone = Setup::new(folders[0].path());
    let shared = Setup::new(folders[1].path()).set("dedup.store", "redis").set("dedup.redis.url", store.url());
    let shared = shared.set("dedup.redis.deadline_ms", 5000);
    let (alone, shared) = tokio::join!(alone.start(), shared.start());
    let mut connections = [&alone, &shared].map(GatewayProcess::client);
    let mut rng = Rng::new();
    for (events_each, requests) in [(1, 150), (500, 20), (10_000, 4)] {
        let mut times = [Vec::new(), Vec::new()];
        let mut open = Vec::new();
        for client in &mut connections {
            open.push(client.connect(Wire::H1).await.expect("it is ready"));
        }
        // In turns, so that both meet the same machine.
        for _ in 0..requests {
            for (connection, times) in open.iter_mut().zip(&mut times) {
                let bodies: Vec<_> = (0..events_each).map(|_| events::small(events::identity(&mut rng))).collect();
                let post = events::Form::Lines.post(&bodies);
                let started = Instant::now();
                let answer = connection.post(&post).await.expect("an answer");
                times.push(started.elapsed());
                assert_eq!(answer.told(events_each), vec![Told::Accepted; events_each]);
            }
        }
        let [alone, shared] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        let ratio = shared.as_secs_f64() / alone.as_secs_f64();
        say(format_args!("fleet: {events_each} events: {alone:?} alone, {shared:?} with the store: {ratio:.2} times"));
    }
    let scrape = Scrape::of(&shared).await;
    assert_eq!(scrape.value("dedup_unchecked_events"), 0);
    assert_eq!(scrape.value("dedup_store_claim_seconds_count"), 174);
    alone.stop().await;
    shared.stop().await;
}
