//! Typed tables beside a gateway: built by a command and by the gateway, and reached by an erasure.

use std::{collections::HashSet, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    client::Wire,
    events::{self, Form},
    eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    readback::LakeRows,
    typed_tables::TypedRows,
};

fn command(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.env("LAKEGATE__SCHEMAS__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    command.arg("lake").args(words).args(["--format", "json", "--data-dir"]).arg(data);
    command
}

fn lake(data: &Path, words: &[&str]) -> Value {
    let output = command(data, words).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn send(gateway: &Gateway, count: usize) -> Vec<Uuid> {
    let uuids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    let bodies: Vec<Vec<u8>> = uuids.iter().map(|uuid| events::good(*uuid)).collect();
    let answer = gateway.client().post(Wire::H1, &Form::Array.post(&bodies)).await.expect("an answer");
    assert!(answer.status < 300, "{}", answer.text());
    Scrape::when_drained(gateway).await;
    uuids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_beside_a_gateway_has_every_event_once_and_an_erasure_leaves_nothing_in_any_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, typed) = (folder.path().join("data"), folder.path().join("data/lake-typed"));
    let gateway = Setup::new(data.clone()).set("lake.flush_age_ms", 20).start().await;
    let mut sent = send(&gateway, 300).await;
    let built = lake(&data, &["build"]);
    let rows: u64 = built["tables"].as_array().expect("tables").iter().map(|table| table["rows"].as_u64().expect("rows")).sum();
    assert_eq!((rows, &built["rows_without_table"], &built["failed"]), (300, &json!({}), &json!([])), "{built:#}");
    sent.extend(send(&gateway, 100).await);
    let again = lake(&data, &["build"]);
    let count = |report: &Value, field: &str| -> u64 {
        report["tables"].as_array().expect("tables").iter().map(|table| table[field].as_u64().expect("a number")).sum()
    };
    assert_eq!((count(&again, "rows_written"), count(&again, "rebuilt_partitions")), (100, 0), "{again:#}");
    TypedRows::read(&typed).assert_exactly(&sent.iter().copied().collect());

    let erased: Vec<Uuid> = sent.drain(..50).collect();
    let values = folder.path().join("values.txt");
    std::fs::write(&values, erased.iter().map(|uuid| format!("{uuid}\n")).collect::<String>()).expect("a file");
    let words = ["erase", "--where", "event_uuid", "--where-file", values.to_str().expect("UTF-8")];
    let would = lake(&data, &[&words[..], &["--dry-run"]].concat());
    assert_eq!(would["lakes"][0]["typed_tables"]["erased"], json!(50), "{would:#}");
    let report = lake(&data, &words);
    let lake_report = &report["lakes"][0];
    assert_eq!((&lake_report["erased"], &lake_report["typed_tables"]["erased"]), (&json!(50), &json!(50)), "{report:#}");
    let left: HashSet<Uuid> = sent.iter().copied().collect();
    TypedRows::read_all_files(&typed).assert_exactly(&left);
    gateway.stop().await;
    LakeRows::read_all_files(&data.join("lake")).assert_exactly(&left, events::good);
}

/// A round of the upkeep begins 30 to 90 seconds after the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_keeps_the_typed_tables_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, typed) = (folder.path().join("data"), folder.path().join("data/lake-typed"));
    let gateway = Setup::new(data.clone()).set("lake.flush_age_ms", 20).start().await;
    let sent: HashSet<Uuid> = send(&gateway, 200).await.into_iter().collect();
    let limit = Duration::from_secs(300);
    let is_built = async || typed.join("_lakegate/built.json").exists() && TypedRows::read(&typed).rows.len() == sent.len();
    eventually("the gateway builds its typed tables", limit, is_built).await;
    TypedRows::read(&typed).assert_exactly(&sent);
    gateway.stop().await;
}

#[test]
fn a_lake_without_a_log_says_how_it_gets_one() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("lake")).expect("a folder");
    let output = command(folder.path(), &["build"]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`lakegate lake adopt` makes it one"), "{said}");
}
