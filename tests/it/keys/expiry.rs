//! The end of a secret, by the wall clock.

use super::{LIMIT, bearer, id, key, sha256};
use crate::support::{
    client::{Told, Wire},
    faults::{Faults, days},
    gateway::Setup,
    metrics::Scrape,
};

/// The time in so many days, for a configuration.
fn in_days(count: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * count)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_used_shortly_before_its_end_is_told_and_so_is_a_key_that_has_none_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("lakegate.toml");
    let secrets = format!("secrets = [{{ sha256 = \"{}\", not_after = \"{}\" }}]", sha256("till"), in_days(3));
    let only = format!("[[keys]]\nname = \"only\"\n{}\n", secrets.replace(&sha256("till"), &sha256("only till")));
    std::fs::write(&config, [key("svc", "for good", &secrets), only].concat()).expect("a file");
    let faults = Faults::new(folder.path());
    let gateway = faults.on(Setup::new(folder.path().join("data")).config(&config)).start().await;
    let client = gateway.client();
    let status = async |secret: &str| client.post(Wire::H1, &bearer(secret)).await.expect("an answer");
    assert_eq!(status("for good").await.told(1), [Told::Accepted]);
    let unused = gateway.readiness().await;
    assert_eq!(unused.json()["reasons"], serde_json::json!([]), "nobody uses what expires");
    assert_eq!(status("till").await.told(1), [Told::Accepted]);
    let told = gateway.until_reason("key_expires_soon", LIMIT).await;
    let reason = &told.json()["reasons"][0];
    assert_eq!((&reason["place"], &reason["blocks"]), (&"svc".into(), &false.into()), "{reason}");
    assert!(reason["detail"].as_str().is_some_and(|detail| detail.contains(&id("till"))), "{reason}");
    let labels = format!("key=\"svc\",secret=\"{}\"", id("till"));
    let scrape = Scrape::of(&gateway).await;
    let now = jiff::Timestamp::now().as_second() as f64;
    let times = (scrape.labelled("key_last_used_timestamp_seconds"), scrape.labelled("key_not_after_timestamp_seconds"));
    assert!((times.0[&*labels] - now).abs() < 60.0 && (times.1[&*labels] - now - 3.0 * 86_400.0).abs() < 60.0, "{times:?}");
    assert_eq!((times.0.len(), times.1.len()), (3, 2), "one line for each secret: {times:?}");

    // The wall clock alone decides: it passes the end, and comes back.
    faults.clock(days(4));
    for wire in [Wire::H1, Wire::H2] {
        let answer = client.post(wire, &bearer("till")).await.expect("an answer");
        assert_eq!((answer.status, answer.problem_code()), (401, "key_expired".into()));
        assert!(!answer.header("www-authenticate").is_empty(), "{answer:?}");
    }
    assert_eq!(status("for good").await.status, 202);
    let told = gateway.until_reason("\"key_expired\"", LIMIT).await;
    assert!(told.json()["reasons"].to_string().contains("\"place\":\"only\""), "{told:?}");
    let refused = "refused: The secret of the key has expired";
    gateway.until_logged(refused, 1).await;
    let names_key = |line: &str| line.contains(refused) && line.contains("\"key\":\"svc\"");
    assert!(gateway.log_text().lines().any(names_key), "the log names the key: {}", gateway.log_text());
    assert_eq!(Scrape::of(&gateway).await.labelled("key_expired_requests")[&*labels], 2.0);
    faults.clock(0);
    assert_eq!(status("till").await.told(1), [Told::Accepted]);
    Scrape::when("no key is without a secret any more", &gateway, |scrape| {
        scrape.labelled("condition")["code=\"key_expired\""] == 0.0
    })
    .await;

    // A key that leaves the configuration takes its lines and its warnings with it.
    std::fs::write(&config, key("svc", "for good", "")).expect("a file");
    gateway.hang_up();
    Scrape::when("its lines are gone", &gateway, |scrape| {
        scrape.labelled("key_last_used_timestamp_seconds").len() == 1
            && scrape.labelled("key_not_after_timestamp_seconds").is_empty()
            && scrape.labelled("condition")["code=\"key_expires_soon\""] == 0.0
    })
    .await;
    assert_eq!(status("till").await.problem_code(), "unknown_key");
    gateway.stop().await;
}
