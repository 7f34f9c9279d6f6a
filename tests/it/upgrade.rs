//! Today's gateway on the data folder that the last release left when it was killed: nothing is lost, nothing is doubled, and what was
//! renamed is found. `tests/data/make-release-folder` made the folder and says what is in it.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    client::{Post, Told, Wire},
    gateway::Setup,
    metrics::Scrape,
    readback::LakeRows,
};

/// What the release was sent.
#[derive(Deserialize)]
struct Expected {
    /// Events that are in the lake.
    delivered: Vec<Uuid>,
    /// Whole events that are accepted and only in the spool.
    undelivered: Vec<String>,
    /// Events that were rejected.
    dead_letters: HashSet<String>,
    /// Whole events that were accepted, of each place from which the dedup window learns its identities.
    to_send_again: Vec<String>,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder of the repository") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file of the repository");
        }
    }
}

/// Runs a command of the program on the data folder.
fn lakegate(words: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEGATE")) {
        command.env_remove(variable);
    }
    command.args(words).arg("--data-dir").arg(data).output().expect("it runs")
}

/// The events of the dead letters that `name` lists, and what it says on standard error.
fn listed(name: &str, data: &Path) -> (HashSet<String>, String) {
    let output = lakegate(&[name, "show", "--limit", "99"], data);
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{told}");
    let letters = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let uuid = |letter: Value| letter["line"]["event_uuid"].as_str().expect("an identity").to_owned();
    (letters.map(|letter| uuid(letter.expect("JSON"))).collect(), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_release_0_1_0_is_taken_over_whole() {
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release-0.1.0");
    let expected = fs::read(release.join("expected.json")).expect("a file of the repository");
    let expected: Expected = serde_json::from_slice(&expected).expect("what the script writes");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&release.join("data"), &data);

    // Before the first start, by the old name of the command.
    let (letters, told) = listed("dlq", &data);
    assert_eq!(letters, expected.dead_letters);
    for text in ["is now called `lakegate dead-letters`", "rejected; the next start of the gateway moves them"] {
        assert_eq!(told.matches(text).count(), 1, "{told}");
    }
    assert!(data.join("rejected").is_dir(), "a command that only reads moves nothing");

    let setup = Setup::new(&data).set("lake.flush_age_ms", 100).set("dead_letter.bytes_per_key_max", 100 << 20);
    let gateway = setup.start().await;
    assert_eq!(gateway.times_logged("rejected was renamed to "), 1, "{}", gateway.log_text());
    assert_eq!(gateway.times_logged("are now called LAKEGATE__DEAD_LETTERS__"), 1, "{}", gateway.log_text());
    assert!(!data.join("rejected").exists() && data.join("dead-letters/dev").is_dir());
    let again = gateway.client().post(Wire::H1, &Post::lines(expected.to_send_again.join("\n"))).await.expect("an answer");
    assert_eq!(again.told(3), vec![Told::Duplicate; 3]);
    Scrape::when_drained(&gateway).await;

    let undelivered: Vec<(Uuid, &str)> = expected.undelivered.iter().map(|event| (uuid_of(event), event.as_str())).collect();
    let lake = LakeRows::read(&data.join("lake"));
    for (uuid, sent) in &undelivered {
        assert_eq!(lake.rows.get(uuid).map(Vec::as_slice), Some(&[(*sent).to_owned()][..]), "{uuid}");
    }
    let all: HashSet<Uuid> = expected.delivered.iter().copied().chain(undelivered.iter().map(|(uuid, _)| *uuid)).collect();
    assert_eq!(lake.rows.keys().copied().collect::<HashSet<_>>(), all);
    assert!(lake.rows.values().all(|payloads| payloads.len() == 1), "an event is in the lake twice");

    let (letters, told) = listed("dead-letters", &data);
    assert_eq!((letters, &*told), (expected.dead_letters.clone(), ""));
    let readiness = gateway.readiness().await;
    assert_eq!((readiness.status, readiness.json()["reasons"].to_string().as_str()), (200, "[]"), "{}", readiness.text());
    gateway.stop().await;

    // What was taken over stays so, and nobody is told again.
    let gateway = Setup::new(&data).start().await;
    assert!(!gateway.log_text().contains("renamed") && !gateway.log_text().contains("now called"), "{}", gateway.log_text());
    assert_eq!(listed("dead-letters", &data).0, expected.dead_letters);
    gateway.stop().await;
}

fn uuid_of(event: &str) -> Uuid {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["event_uuid"].as_str().and_then(|uuid| uuid.parse().ok()).expect("an identity")
}
