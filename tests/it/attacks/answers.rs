//! Small bodies that ask for large answers, and for long explanations.

use std::fs;

use serde_json::Value;

use super::{event, event_of};
use crate::support::{
    client::{Post, Told, Wire},
    gateway::Setup,
    metrics::Scrape,
};

/// `results` has at most 256 KiB; around it stand the counts and the problem.
const ANSWER_BYTES_MAX: usize = 256 * 1024 + 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_gets_no_large_answer_and_the_counts_are_those_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let body = format!("[{}]", vec!["1"; 10_000].join(","));
    let answer = gateway.client().post(Wire::H2, &Post::json(body)).await.expect("an answer");
    assert!(answer.body.len() <= ANSWER_BYTES_MAX, "{} bytes", answer.body.len());
    let told = answer.json();
    assert_eq!((answer.status, &told["rejected"], &told["results_truncated"]), (422, &Value::from(10_000), &Value::from(true)));
    assert!(answer.told(10_000).iter().all(|told| matches!(told, Told::Rejected(_))));
    assert_eq!(Scrape::of(&gateway).await.outcomes(), [0, 0, 10_000, 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hundred_faults_of_a_body_the_rest_is_told_briefly_with_code_and_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    let unknown: String = (0..150).map(|field| format!(",\"f{field}\":1")).collect();
    let events: Vec<String> = (0..300).map(|_| event_of("\"menu:section:reached\"", &unknown)).collect();
    let answer = gateway.client().post(Wire::H2, &Post::json(format!("[{}]", events.join(",")))).await.expect("an answer");
    let told = answer.json();
    let results = told["results"].as_array().expect("results");
    assert_eq!((answer.status, results.len()), (422, 300));
    let brief: Vec<bool> = results
        .iter()
        .map(|result| {
            let error = &result["error"];
            assert_eq!((&error["code"], &error["schema"]), (&"schema_violation".into(), &"menu:section:reached/1".into()));
            assert!(error["pointer"].is_string(), "{error}");
            let chars = error["detail"].as_str().expect("text").chars().count();
            let is_brief = error["errors"].is_null();
            assert!(chars > 10 && (!is_brief || chars <= 120), "{error}");
            is_brief
        })
        .collect();
    assert!(brief.is_sorted() && !brief[9] && brief[100], "the first are explained, then none is: {brief:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_never_hides_an_event_that_must_be_sent_again() {
    const QUOTA: u64 = 16 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let letters = folder.path().join("dead-letters/dev");
    fs::create_dir_all(&letters).expect("a folder");
    // Full: every bad event is to be sent again.
    fs::File::create(letters.join("filler")).and_then(|file| file.set_len(QUOTA)).expect("a sparse file");
    let gateway = Setup::new(folder.path()).set("dead_letters.bytes_per_key_max", QUOTA).start().await;
    let client = gateway.client();
    let body = |bad: usize, good: &str| Post::lines(format!("{}{good}", "1\n".repeat(bad)));

    let good = event();
    let answer = client.post(Wire::H1, &body(500, &good)).await.expect("an answer");
    let told = answer.told(501);
    assert_eq!((answer.status, &told[500]), (207, &Told::Accepted));
    assert!(told[..500].iter().all(|told| *told == Told::Retry("dead_letters_full".into())), "{answer:?}");

    let good = event();
    let answer = client.post(Wire::H1, &body(5_000, &good)).await.expect("an answer");
    assert_eq!((answer.status, answer.problem_code()), (503, "storage_unavailable".into()));
    assert!(answer.json()["results"].is_null() && answer.json()["accepted"].is_null(), "{answer:?}");
    // It was stored: sent again, as the whole body is, it is a duplicate.
    let answer = client.post(Wire::H1, &Post::json(good)).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Duplicate]);
    gateway.stop().await;
}
