//! The whole program: a log that nobody reads, a part that dies, a system without threads, a data folder that is not there.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use fastrand::Rng;
use lakegate::{
    app::{App, Ended, Failure, Stop},
    conditions::Condition,
    config::Config,
};
use tokio::sync::mpsc;

use crate::support::{
    client::{Client, Post, Told, Wire, get_plain},
    events, eventually,
    faults::{Call, Errno, Fault, Faults},
    gateway::{Gateway, Hearing, Setup},
    metrics::Scrape,
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 50)
}

/// Sends a good event, which is answered in time.
async fn send(client: &Client) -> Told {
    let post = Post::json(events::small(events::identity(&mut Rng::new())));
    let answer = tokio::time::timeout(LIMIT, client.post(Wire::H1, &post)).await.expect("an answer in time");
    answer.expect("an answer").told(1).remove(0)
}

/// Sends events until `/readyz` gives a reason that holds `text`. Every event is accepted, and every question answered.
async fn send_until_reason(gateway: &Gateway, client: &Client, text: &str) {
    eventually(&format!("/readyz says {text}"), LIMIT, async || {
        for _ in 0..50 {
            assert_eq!(send(client).await, Told::Accepted);
        }
        assert_eq!(get_plain(gateway.admin(), "/healthz").await.expect("an answer").status, 200);
        let answer = gateway.readiness().await;
        assert_eq!(answer.status, 200, "a warning only");
        answer.json()["reasons"].to_string().contains(text)
    })
    .await;
}

// ---- logs ------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing_and_costs_lines_that_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = setup(folder.path()).set("telemetry.log_filter", "trace").start().await;
    let client = gateway.client();
    gateway.hear(Hearing::Held);
    send_until_reason(&gateway, &client, "log_stalled").await;
    eventually("lines are dropped", LIMIT, async || {
        assert_eq!(send(&client).await, Told::Accepted);
        Scrape::of(&gateway).await.value("log_dropped_lines") > 0
    })
    .await;
    gateway.hear(Hearing::On);
    eventually("it is over", LIMIT, async || gateway.has_logged("a fault is over")).await;
    gateway.until_reason("", LIMIT).await;
    for line in gateway.log_text().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_reader_of_the_log_only_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = setup(folder.path()).set("telemetry.log_filter", "trace").start().await;
    let client = gateway.client();
    gateway.hear(Hearing::Held);
    send_until_reason(&gateway, &client, "log_stalled").await;
    gateway.terminate();
    eventually("it ends", LIMIT, async || !gateway.is_running()).await;
    gateway.hear(Hearing::On);
    assert_eq!(gateway.exit_code(LIMIT).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_is_gone_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = setup(folder.path()).set("telemetry.log_filter", "trace").start().await;
    let client = gateway.client();
    gateway.hear(Hearing::Gone);
    send_until_reason(&gateway, &client, "log_stalled").await;
    assert!(Scrape::of(&gateway).await.value("log_dropped_lines") > 0);
    gateway.terminate();
    eventually("it ends", LIMIT, async || !gateway.is_running()).await;
    assert_eq!(gateway.exit_code(LIMIT).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_on_a_full_disk_stops_nothing_and_its_lines_stay_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("access.ndjson");
    let faults = Faults::new(folder.path());
    let setup = faults.on(setup(folder.path()).set("telemetry.access_log", true).output(&output));
    let gateway = setup.start().await;
    let client = gateway.client();
    faults.set(&[
        Fault::short(Call::Write, "*/access.ndjson", 10).times(1),
        Fault::new(Call::Write, "*/access.ndjson", Errno::NOSPC),
    ]);
    send_until_reason(&gateway, &client, "log_stalled").await;
    assert!(faults.hits(0) == 1 && faults.hits(1) > 0);
    assert!(gateway.readiness().await.json()["reasons"].to_string().contains("stdout"));
    faults.clear();
    gateway.until_reason("", LIMIT).await;
    let dropped = Scrape::of(&gateway).await.value("access_log_dropped_lines");
    gateway.stop().await;
    let text = fs::read_to_string(&output).expect("it was made");
    assert!(text.lines().count() >= 50 && dropped == 0, "{dropped} dropped");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

// ---- a part that dies ------------------------------------------------------------------------------------------------

/// The same components as the program has, in this process, where a part can be made to die.
async fn app(folder: &Path) -> (App, Config) {
    let mut config = Config { data_dir: folder.join("data"), ..Config::default() };
    config.schemas.dir = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas").into();
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.admin.listen = config.http.listen;
    (App::start(&config).await.expect("it starts"), config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_dies_ends_the_gateway_with_its_reason_and_what_was_acknowledged_is_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, config) = Box::pin(app(folder.path())).await;
    let client = Client::trusting(&config.data_dir.join("tls/cert.pem"), app.address);
    let (conditions, admin) = (app.conditions(), app.admin_address);
    let (_nobody_stops_it, stops) = mpsc::channel(1);
    let running = tokio::spawn(app.run(stops));
    assert_eq!(send(&client).await, Told::Accepted);
    assert_eq!(get_plain(admin, "/readyz").await.expect("an answer").status, 200);
    conditions.vital("test").thread(|| panic!("as the test wants it")).expect("a thread").join().expect_err("it panicked");
    let Ended { undelivered_events, failure } = tokio::time::timeout(LIMIT, running).await.expect("in time").expect("it ended");
    assert_eq!(failure, Some(Failure::Part("test: it panicked; the log has the place".into())));
    assert_eq!(undelivered_events, Some(1), "it is not waited for the sink");
    assert!(conditions.holds(Condition::PartEnded));
    // The next start has it.
    let (app, _) = Box::pin(self::app(folder.path())).await;
    let (stop, stops) = mpsc::channel(1);
    stop.send(Stop::Gracefully).await.expect("it is taken");
    let Ended { undelivered_events, failure } = app.run(stops).await;
    assert_eq!((undelivered_events, failure), (Some(0), None));
}

/// Each thread that the program begins is refused in one run, and all after it. So is that of a reload, whose task then panics.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_gives_no_threads_ends_the_program_with_a_reason_at_its_start_and_later() {
    let mut has_died = false;
    for threads in 0..100 {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = Faults::new(folder.path());
        faults.set(&[Fault::new(Call::Thread, "thread", Errno::AGAIN).after(threads)]);
        let mut gateway = faults.on(setup(folder.path())).spawn();
        eventually("it is up or has ended", LIMIT, async || !gateway.is_running() || gateway.has_logged("\"ready\"")).await;
        let was_up = gateway.has_logged("\"ready\"");
        if gateway.is_running() {
            gateway.hang_up();
            let is_reloaded = "the configuration was read again and";
            eventually("it reloads or ends", LIMIT, async || !gateway.is_running() || gateway.has_logged(is_reloaded)).await;
        }
        // What it had begun may still be logged while it ends.
        if gateway.is_running() && !gateway.has_logged("a part of the gateway died") {
            assert!(has_died, "it was up after {threads} threads");
            assert_eq!(send(&gateway.client()).await, Told::Accepted);
            return;
        }
        let (code, log) = (gateway.exit_code(LIMIT).await, gateway.log_text());
        assert!(faults.hits(0) > 0 && !log.is_empty());
        if was_up {
            assert!(code == 70 && log.contains("part_ended") && log.contains("a panic"), "{threads} threads: {code}: {log}");
            has_died = true;
        } else {
            assert!([1, 70].contains(&code), "{threads} threads: {code}: {log}");
        }
    }
    panic!("it was never up");
}

// ---- the data folder -------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_vanishes_is_said_and_nothing_is_taken_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, aside) = (folder.path().join("data"), folder.path().join("aside"));
    let gateway = setup(folder.path()).start().await;
    let client = gateway.client();
    assert_eq!(send(&client).await, Told::Accepted);
    for is_replaced in [false, true] {
        fs::rename(&data, &aside).expect("it is there");
        if is_replaced {
            fs::create_dir(&data).expect("an empty mount point");
        }
        let answer = gateway.until_reason("data_missing", LIMIT).await;
        assert!(answer.status == 503 && !answer.text().contains("disk_full"), "{}", answer.text());
        let post = Post::json(events::small(events::identity(&mut Rng::new())));
        let answer = client.post(Wire::H1, &post).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code().as_str()), (503, "storage_unavailable"));
        if is_replaced {
            fs::remove_dir_all(&data).expect("nothing of ours");
        }
        fs::rename(&aside, &data).expect("it is there");
        eventually("it takes events again", LIMIT, async || gateway.readiness().await.status == 200).await;
        assert_eq!(send(&client).await, Told::Accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_does_not_answer_is_no_full_disk_and_one_without_inodes_is_none_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(setup(folder.path())).start().await;
    faults.set(&[Fault::new(Call::Statvfs, "*/data/*", Errno::IO)]);
    let answer = gateway.until_reason("data_missing", LIMIT).await;
    assert!(answer.status == 503 && !answer.text().contains("disk_full"), "{}", answer.text());
    faults.set(&[Fault::free_inodes("*/data/*", 0)]);
    let answer = gateway.until_reason("inodes_low", LIMIT).await;
    assert!(answer.text().contains("no file can be made") && !answer.text().contains("disk_full"), "{}", answer.text());
    assert!(faults.hits(0) > 0);
    faults.clear();
    gateway.until_reason("", LIMIT).await;
    assert_eq!(send(&gateway.client()).await, Told::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mount_point_is_refused_where_data_is_required_and_nothing_is_left_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&data).expect("a mount point");
            // What a fresh file system has.
            fs::create_dir(data.join("lost+found")).expect("a folder");
        }
        let mut gateway = setup(folder.path()).set("require_existing_data", true).spawn();
        assert_eq!(gateway.exit_code(LIMIT).await, 78, "{}", gateway.log_text());
        assert!(gateway.has_logged("is its file system mounted?"), "{}", gateway.log_text());
        assert_eq!(data.exists().then(|| fs::read_dir(&data).expect("a folder").count()), is_there.then_some(1));
    }
    setup(folder.path()).start().await.stop().await;
    setup(folder.path()).set("require_existing_data", true).start().await.stop().await;
    // A mark that a crash left empty is none, and is made anew.
    File::create(data.join("lakegate.id")).expect("an empty file");
    setup(folder.path()).start().await.stop().await;
    assert!(fs::metadata(data.join("lakegate.id")).expect("it is there").len() > 30);
}
