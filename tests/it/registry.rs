//! The registry while the gateway runs: how it is served, how it changes with its folder, and a thousand schemas.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use lakegate::schema;

use crate::support::{
    client::{Client, Post, Told, Wire},
    events,
    gateway::Setup,
    metrics::Scrape,
    registry, say,
};

/// Schemas of a large registry. An unoptimised build takes twenty times as long for each.
const MANY: usize = if cfg!(debug_assertions) { 120 } else { 1_000 };

/// A reload must not make a request slower than this many times the slowest of a quiet gateway, or than [`SLOW`].
const SLOWER_MAX: u32 = 4;

/// What nobody calls slow, whatever it is a multiple of; on a shared machine the scheduler alone takes as much.
const SLOW: Duration = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });

fn schema(title: &str) -> String {
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "description": title, "type": "object",
        "properties": {"dish": {"type": "string", "description": "Which."}},
    })
    .to_string()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_folder_is_in_force_by_itself_and_a_half_written_one_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let schemas = folder.path().join("schemas");
    put(&schemas.join("kitchen/closed/1.json"), &schema("The kitchen has closed"));
    let gateway = Setup::new(folder.path().join("data")).schemas(&schemas).start().await;
    let client = gateway.client();
    let status = async |path: &str| client.get(path).await.expect("an answer").status;
    let reloads =
        async |count: i64| Scrape::when("it is in force", &gateway, |scrape| scrape.value("schema_reloads") == count).await;
    // Files come one after the other, and none is whole at first.
    let opened = schemas.join("kitchen/opened/1.json");
    let whole = schema("The kitchen has opened");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        for cut in [1, whole.len() / 2, whole.len() - 1] {
            put(&opened, &whole[..cut]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    put(&opened, &whole);
    let scrape = reloads(1).await;
    assert_eq!(scrape.value("schema_reload_failures"), 0, "{}", gateway.log_text());
    assert_eq!(status("/v1/schemas/kitchen:opened").await, 200);
    gateway.until_logged(r#""schemas_added":"kitchen:opened/1""#, 1).await;
    // One that stays wrong is refused once, with its file and its reason, and all old ones stay.
    put(&opened, "{");
    put(&schemas.join("kitchen/closed/2.json"), &schema("A second version"));
    Scrape::when("it is refused", &gateway, |scrape| scrape.value("schema_reload_failures") == 1).await;
    gateway.until_logged("kitchen/opened/1.json: is not JSON", 1).await;
    assert_eq!([status("/v1/schemas/kitchen:opened/1").await, status("/v1/schemas/kitchen:closed/2").await], [200, 404]);
    put(&opened, &whole);
    let scrape = reloads(2).await;
    assert_eq!(scrape.value("schema_reload_failures"), 1, "it was told once");
    assert_eq!(status("/v1/schemas/kitchen:closed/2").await, 200);
    // As Kubernetes does it: the folder itself is another one, behind the same name.
    let other = folder.path().join("other");
    put(&other.join("kitchen/moved/1.json"), &schema("The kitchen has moved"));
    fs::rename(&schemas, folder.path().join("away")).expect("it is moved");
    fs::rename(&other, &schemas).expect("it is moved");
    reloads(3).await;
    assert_eq!([status("/v1/schemas/kitchen:moved").await, status("/v1/schemas/kitchen:opened").await], [200, 404]);
    // No folder is no registry.
    fs::remove_dir_all(&schemas).expect("it is removed");
    Scrape::when("it is refused", &gateway, |scrape| scrape.value("schema_reload_failures") == 2).await;
    assert_eq!(status("/v1/schemas/kitchen:moved").await, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_folder_is_not_watched_only_a_signal_changes_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let schemas = folder.path().join("schemas");
    put(&schemas.join("kitchen/closed/1.json"), &schema("The kitchen has closed"));
    let gateway = Setup::new(folder.path().join("data")).schemas(&schemas).set("schemas.watch", "false").start().await;
    put(&schemas.join("kitchen/opened/1.json"), &schema("The kitchen has opened"));
    // More than two looks.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let newest = async || gateway.client().get("/v1/schemas/kitchen:opened").await.expect("an answer").status;
    assert_eq!(newest().await, 404);
    gateway.hang_up();
    Scrape::when("it is in force", &gateway, |scrape| scrape.value("config_reloads") == 1).await;
    assert_eq!(newest().await, 200);
    gateway.stop().await;
}

/// Good requests without end, each timed.
async fn load(client: Client, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut rng = Rng::new();
    let mut connection = client.connect(Wire::H1).await.expect("it listens");
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let post = Post::json(events::small(events::identity(&mut rng)));
        let began = Instant::now();
        let answer = connection.post(&post).await.expect("an answer");
        took.push(began.elapsed());
        assert_eq!(answer.told(1), [Told::Accepted]);
        // A steady trickle, so that the machine is not full of the test's own work.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took
}

fn figures(mut took: Vec<Duration>) -> (Duration, Duration, Duration) {
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    (at(0.5), at(0.99), at(1.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_schemas_are_there_at_once_and_change_without_a_slow_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let schemas = folder.path().join("schemas");
    registry::write(&schemas, MANY);
    let began = Instant::now();
    let loaded = schema::load(&schemas).expect("it is good");
    let took = began.elapsed();
    assert_eq!(loaded.iter().map(|(_, versions)| versions.len()).sum::<usize>(), MANY);
    let gateway = Setup::new(folder.path().join("data")).schemas(&schemas).start().await;
    let start = gateway.age();
    say(format_args!("registry: {MANY} schemas compiled in {took:?}; the gateway was ready after {start:?}"));
    assert!(cfg!(debug_assertions) || start < Duration::from_secs(2), "{start:?}");

    let timed = async |change: &dyn Fn(), reloads: i64| {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(load(gateway.client(), stop.clone()))).collect();
        change();
        let began = Instant::now();
        Scrape::when("it is in force", &gateway, |scrape| scrape.value("schema_reloads") == reloads).await;
        // So that the old registry is freed meanwhile, and quiet and busy times are of some length.
        tokio::time::sleep(Duration::from_secs(5).saturating_sub(began.elapsed()).max(Duration::from_secs(3))).await;
        stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.expect("no request failed"));
        }
        (took.len(), figures(took))
    };
    let (_, quiet) = timed(&|| {}, 0).await;
    for reload in 1..=3 {
        let change = || put(&schemas.join(format!("kitchen/opened/{reload}.json")), &schema("The kitchen has opened"));
        let (requests, busy) = timed(&change, reload).await;
        say(format_args!("registry: reload {reload}, {requests} requests, p50 p99 max {busy:?}; quiet {quiet:?}"));
        assert!(busy.2 < SLOW.max(quiet.2 * SLOWER_MAX), "{busy:?}, while quiet {quiet:?}");
    }
    gateway.stop().await;
}
