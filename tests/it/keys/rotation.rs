//! A secret is rotated under load: nobody who uses a secret in its time is refused, and no event is lost.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use jiff::Timestamp;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{LIMIT, key, keys, printed_secret};
use crate::support::{
    client::{Client, Post, Told, Wire},
    events, eventually,
    gateway::Setup,
    metrics::Scrape,
    readback::LakeRows,
    say,
};

/// What all senders know.
struct Shared {
    client: Client,
    /// The new secret, once it is made.
    new_secret: Mutex<String>,
    /// Whether those who change by themselves shall.
    switch: AtomicBool,
    stop: AtomicBool,
    /// The end of the old secret, in Unix seconds, once it is known.
    end: AtomicU64,
}

/// A sender that posts one event after the other.
struct Sender {
    shared: Arc<Shared>,
    wire: Wire,
    /// Changes when it is told to; the others when they are refused.
    is_early: bool,
    sent: Arc<AtomicU64>,
    has_switched: Arc<AtomicBool>,
}

impl Sender {
    /// The events that were acknowledged, and how often it was refused.
    async fn run(self) -> (Vec<Uuid>, usize) {
        let Self { shared, wire, .. } = &self;
        let (mut rng, mut acknowledged, mut refused) = (Rng::new(), Vec::new(), 0);
        let mut secret = "old".to_owned();
        let mut connection = shared.client.connect(*wire).await.expect("it listens");
        while !shared.stop.load(Ordering::Relaxed) {
            let uuid = events::identity(&mut rng);
            if self.is_early && secret == "old" && shared.switch.load(Ordering::Relaxed) {
                secret = self.switch();
            }
            let post = Post::json(events::small(uuid)).without("x-api-key");
            // The event that is refused is sent again.
            loop {
                let answer = connection.post(&post.clone().header("authorization", format!("Bearer {secret}"))).await;
                let answer = answer.expect("an answer");
                if answer.status != 401 {
                    assert_eq!(answer.told(1), [Told::Accepted]);
                    break;
                }
                let (end, now) = (shared.end.load(Ordering::Relaxed), Timestamp::now().as_second() as u64);
                assert_eq!(answer.problem_code(), "key_expired");
                assert!(secret == "old" && end > 0 && now >= end, "{secret:?} was refused at {now}, and is good until {end}");
                refused += 1;
                secret = self.switch();
            }
            acknowledged.push(uuid);
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        (acknowledged, refused)
    }

    fn switch(&self) -> String {
        self.has_switched.store(true, Ordering::Relaxed);
        self.shared.new_secret.lock().expect("no panic inside").clone()
    }
}

/// The end of the secret that `rotate` replaced.
fn end_of_old(config: &Path) -> u64 {
    let text = fs::read_to_string(config).expect("a file");
    let end = text.split("not_after = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("an end");
    u64::try_from(end.parse::<Timestamp>().expect("a time").as_second()).expect("after 1970")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_under_load_and_no_event_is_lost_and_nobody_is_refused_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (folder.path().join("lakegate.toml"), folder.path().join("data"));
    fs::write(&config, key("svc", "old", "")).expect("a file");
    let gateway = Setup::new(&data).config(&config).set("lake.flush_age_ms", 100).start().await;
    let shared = Arc::new(Shared {
        client: gateway.client(),
        new_secret: Mutex::default(),
        switch: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        end: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    let mut watched = Vec::new();
    for number in 0..6 {
        let wire = if number % 2 == 0 { Wire::H1 } else { Wire::H2 };
        let (sent, has_switched) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        watched.push((sent.clone(), has_switched.clone()));
        tasks.spawn(Sender { shared: shared.clone(), wire, is_early: number < 3, sent, has_switched }.run());
    }
    // Waits until each of them has had an answer to a request that began now; panics if one ended.
    let go_on = async |tasks: &mut JoinSet<(Vec<Uuid>, usize)>| {
        let sent = || watched.iter().map(|(sent, _)| sent.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let enough: Vec<u64> = sent().into_iter().map(|sent| sent + 2).collect();
        let all = eventually("all go on", LIMIT, async || sent().iter().zip(&enough).all(|(sent, enough)| sent >= enough));
        tokio::select! {
            () = all => {}
            ended = tasks.join_next() => panic!("a sender ended: {ended:?}"),
        }
    };
    go_on(&mut tasks).await;
    let words = ["rotate", "svc", "--overlap", "4s", "--reload", "--data-dir", data.to_str().expect("text")];
    let (out, _) = tokio::task::block_in_place(|| keys(&config, &words));
    *shared.new_secret.lock().expect("no panic inside") = printed_secret(&out);
    shared.end.store(end_of_old(&config), Ordering::Relaxed);
    Scrape::when("it is in force", &gateway, |scrape| scrape.value("config_reloads") == 1).await;
    shared.switch.store(true, Ordering::Relaxed);
    go_on(&mut tasks).await;
    let switched = || watched.iter().map(|(_, has)| has.load(Ordering::Relaxed)).collect::<Vec<_>>();
    eventually("half of them have changed", LIMIT, async || switched()[..3] == [true; 3]).await;
    // The others go on with the old one, until its end.
    eventually("all have changed", LIMIT, async || {
        assert!(!tasks.is_empty());
        switched() == [true; 6]
    })
    .await;
    go_on(&mut tasks).await;
    shared.stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut refused) = (HashSet::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        let (uuids, times) = ended.expect("no sender failed");
        acknowledged.extend(uuids);
        refused += times;
    }
    assert_eq!(refused, 3, "each of those who stayed was refused once");
    let counted = Scrape::when_drained(&gateway).await;
    assert_eq!(counted.outcomes(), [i64::try_from(acknowledged.len()).expect("few"), 0, 0, 0], "{counted:?}");
    assert_eq!(counted.sum("key_expired_requests", ""), 3);
    counted.assert_ledger();
    gateway.stop().await;
    LakeRows::read(&data.join("lake")).assert_exactly(&acknowledged, events::small);
    say(format_args!("rotation: {} events of 6 senders through one rotation, none lost", acknowledged.len()));
}
