//! The dedup store of a fleet, through the library: a model of what claims may answer, TLS, and what it costs.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use lakegate::{
    dedup::{Claim, Claimed, Deduplicator, Fleet, FleetConfig, Window, WindowConfig},
    telemetry::Metrics,
};
use rcgen::{CertificateParams, KeyPair};
use support::{
    client::{Post, Told, Wire},
    events,
    gateway::Setup,
    metrics::Scrape,
    say, seed,
    store::StoreServer,
};
use uuid::Uuid;

fn config(store: &StoreServer, gateway: u128) -> FleetConfig {
    FleetConfig {
        url: store.url(),
        key_prefix: "lakegate:".into(),
        deadline: Duration::from_secs(5),
        claim_ttl: Duration::from_secs(600),
        window: Duration::from_secs(600),
        gateway: Uuid::from_u128(gateway),
    }
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
    async fn start(store: &StoreServer, number: u128, durable: &BTreeSet<Uuid>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (window, _) = Window::open(WindowConfig::new(folder.path()), 1).unwrap();
        window.restore(durable.iter().copied().zip(0..), 1).unwrap();
        let fleet = Fleet::start(config(store, number), Arc::new(Metrics::new())).unwrap();
        fleet.when_tried().await;
        assert_eq!(fleet.failing(), None);
        assert!(fleet.confirm_again(durable.iter().copied().collect()).await);
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
        gateways.push(Gateway::start(&store, number, &BTreeSet::new()).await);
    }
    let ids: Vec<Uuid> = (0..40).map(|_| events::identity(&mut rng)).collect();
    let mut truth: BTreeMap<Uuid, Truth> = BTreeMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut met = BTreeMap::new();
    for _ in 0..3_000 {
        let at = rng.usize(..gateways.len());
        match rng.u8(..20) {
            0 => {
                // Killed: its batches are gone, and what it had not told. Back, its spool knows what was durable.
                let (mine, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| open.gateway == at);
                open = others;
                let durable = truth.iter().filter(|(_, truth)| **truth == Truth::Durable(at)).map(|(id, _)| *id).collect();
                let killed = gateways.remove(at);
                killed.fleet.close(Duration::ZERO).await;
                drop(mine);
                killed.die().await;
                gateways.insert(at, Gateway::start(&store, at as u128, &durable).await);
                settled(&store, &gateways[at], &durable).await;
            }
            1..=8 if !open.is_empty() => {
                let Open { gateway, fresh, claimed } = open.swap_remove(rng.usize(..open.len()));
                if rng.bool() {
                    claimed.confirm(gateways[gateway].next_mark);
                    gateways[gateway].next_mark += fresh.len() as u64;
                    truth.extend(fresh.iter().map(|id| (*id, Truth::Durable(gateway))));
                    settled(&store, &gateways[gateway], &fresh.iter().copied().collect()).await;
                } else {
                    drop(claimed);
                    // Released here at once; in the store a little later, which nobody but another gateway can see.
                    truth.retain(|id, _| !fresh.contains(id));
                    released(&store, &fresh).await;
                }
            }
            _ => {
                let asked: Vec<Uuid> = (0..rng.usize(1..6)).map(|_| rng.choice(&ids).copied().unwrap()).collect();
                let claimed = gateways[at].dedup.claim(&asked, 1).await.unwrap();
                let mut fresh = Vec::new();
                for (index, (id, claim)) in asked.iter().zip(claimed.outcomes()).enumerate() {
                    assert!(!claimed.is_unchecked(index));
                    let is_open = open.iter().any(|open| open.fresh.contains(id));
                    *met.entry(format!("{claim:?}").chars().take(5).collect::<String>()).or_insert(0) += 1;
                    match (claim, truth.get(id)) {
                        (Claim::Fresh, None) => fresh.push(*id),
                        // Its own, from before it was killed.
                        (Claim::Fresh, Some(Truth::Claimed(owner))) if *owner == at && !is_open => fresh.push(*id),
                        (Claim::TwinOf(first), _) => assert!(asked[*first] == *id && fresh.contains(id)),
                        (Claim::Duplicate, Some(Truth::Durable(_))) => {}
                        (Claim::InFlight, Some(Truth::Claimed(owner))) if *owner != at || is_open => {}
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
        // Identities that are durable everywhere make dull work: now and then the window has passed.
        let durable: Vec<Uuid> =
            truth.iter().filter(|(_, truth)| matches!(truth, Truth::Durable(_))).map(|(id, _)| *id).collect();
        if durable.len() > ids.len() / 2 && open.is_empty() {
            break;
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
async fn settled(store: &StoreServer, _gateway: &Gateway, ids: &BTreeSet<Uuid>) {
    support::eventually("it is confirmed in the store", Duration::from_secs(10), async || {
        ids.iter().all(|id| store.value(*id).is_some_and(|value| value == b"1"))
    })
    .await;
}

/// Waits until the store knows of no claim of these.
async fn released(store: &StoreServer, ids: &[Uuid]) {
    support::eventually("it is released in the store", Duration::from_secs(10), async || {
        ids.iter().all(|id| store.value(*id).is_none())
    })
    .await;
}
