//! `lakegate keys list`, `rotate` and `revoke` on a configuration file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use super::{bearer, command, ended, id, key, keys, printed_secret, sha256};
use crate::support::{
    client::{Told, Wire},
    gateway::Setup,
    metrics::Scrape,
};

fn list(config: &Path, words: &[&str]) -> Value {
    let (out, _) = keys(config, &[&["list", "--format", "json"], words].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// The names of the secrets of the key at `index`.
fn ids(list: &Value, index: usize) -> Vec<&str> {
    list[index]["secrets"].as_array().expect("a list").iter().filter_map(|secret| secret["secret"].as_str()).collect()
}

#[test]
fn rotations_at_one_time_lose_nothing_and_leave_the_rest_of_the_file_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (real, config) = (folder.path().join("real.toml"), folder.path().join("lakegate.toml"));
    let (before, after) = ("# ours\n[http]\nlisten = \"127.0.0.1:0\" # any\n\n# the shop\n", "\n# end\n[stop]\n");
    fs::write(&real, [before, &key("svc", "first", ""), &key("other", "x", ""), after].concat()).expect("a file");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("ours");
    symlink(&real, &config).expect("a link");
    let start = || {
        let mut rotate = command(&["rotate", "svc", "--overlap", "2h", "--config"]);
        rotate.arg(&config).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started")
    };
    let running: Vec<_> = (0..5).map(|_| start()).collect();
    let secrets = running.into_iter().map(|child| {
        let (code, out, err) = ended(&child.wait_with_output().expect("it ends"));
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains("the key svc has the new secret") && !err.contains(&printed_secret(&out)), "{err}");
        printed_secret(&out)
    });
    let mut expected: Vec<String> = secrets.map(|secret| id(&secret)).chain([id("first")]).collect();
    let listed = list(&config, &[]);
    let mut found = ids(&listed, 0);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!((ids(&listed, 1), &listed[1]["secrets"][0]["state"]), (vec![&*id("x")], &"good".into()));
    let ends: Vec<bool> = listed[0]["secrets"].as_array().expect("a list").iter().map(|one| one["not_after"].is_null()).collect();
    assert_eq!(ends.iter().filter(|has_none| **has_none).count(), 1, "only the newest has no end: {listed:#}");
    let text = fs::read_to_string(&real).expect("a file");
    assert!(text.starts_with(before) && text.ends_with(after), "{text}");
    assert!(fs::symlink_metadata(&config).expect("it is there").is_symlink());
    assert_eq!(fs::metadata(&real).expect("it is there").permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing is left beside it");

    // Up to the limit, which is told, and then one is removed.
    for _ in 0..2 {
        keys(&config, &["rotate", "svc"]);
    }
    let full = fs::read_to_string(&real).expect("a file");
    let (code, out, err) = ended(&command(&["rotate", "svc", "--config"]).arg(&config).output().expect("it runs"));
    assert!(code == Some(1) && out.is_empty() && err.contains("has 8 secrets that are good"), "{out}{err}");
    assert_eq!(fs::read_to_string(&real).expect("a file"), full);
    keys(&config, &["revoke", "svc", "--secret", &id("first")]);
    let listed = list(&config, &[]);
    assert!(ids(&listed, 0).len() == 7 && !ids(&listed, 0).contains(&&*id("first")), "{listed:#}");
    // And the whole key.
    keys(&config, &["revoke", "other"]);
    let listed = list(&config, &[]);
    assert_eq!((&listed[1]["enabled"], &listed[1]["secrets"][0]["state"]), (&false.into(), &"disabled".into()));
    assert!(fs::read_to_string(&real).expect("a file").ends_with("\nenabled = false\n\n\n# end\n[stop]\n"));
}

#[test]
fn what_cannot_be_changed_is_said_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("lakegate.toml");
    let text = key("svc", "first", "");
    fs::write(&config, &text).expect("a file");
    let refused = |words: &[&str], variable: Option<(&str, &str)>, code: i32, says: &str| {
        let output = command(words).envs(variable).output().expect("it runs");
        let (found, out, err) = ended(&output);
        assert!(found == Some(code) && out.is_empty() && err.contains(says), "{words:?}: {found:?} {out}{err}");
        assert_eq!(fs::read_to_string(&config).expect("a file"), text);
    };
    let path = config.to_str().expect("text");
    let hash = sha256("other");
    let variable = format!("[{{name = \"svc\", secret_sha256 = \"{hash}\"}}]");
    let by_variable = Some(("LAKEGATE__KEYS", &*variable));
    refused(&["rotate", "svc", "--config", path], by_variable, 1, "the keys come from the variable LAKEGATE__KEYS");
    refused(&["revoke", "svc", "--config", path], by_variable, 1, "the keys come from the variable LAKEGATE__KEYS");
    refused(&["rotate", "svc"], None, 1, "no configuration file is named");
    refused(&["rotate", "nobody", "--config", path], None, 1, "has no key \"nobody\"; it has: svc");
    refused(&["revoke", "svc", "--secret", &id("first"), "--config", path], None, 1, "is the only secret of the key svc");
    refused(&["revoke", "svc", "--secret", "12345678", "--config", path], None, 1, &id("first"));
    refused(&["rotate", "svc", "--overlap", "1y", "--config", path], None, 2, "a number with s, m, h or d");
    refused(&["rotate", "svc", "--config", path], Some(("LAKEGATE__HTTP__LISTEN", "x")), 1, "LAKEGATE__HTTP__LISTEN");
    refused(&["rotate", "svc", "--config", "/nowhere/lakegate.toml"], None, 1, "/nowhere/lakegate.toml");

    // Only printed: the lines of the key, which also work where it comes from a variable.
    for environment in [None, by_variable] {
        let output = command(&["rotate", "svc", "--print", "--config", path]).envs(environment).output().expect("it runs");
        let (code, out, err) = ended(&output);
        let old = if environment.is_some() { &hash } else { &sha256("first") };
        let lines = [format!("secret_sha256 = \"{}\"", sha256(&printed_secret(&out))), format!("sha256 = \"{old}\"")];
        assert!(code == Some(0) && lines.iter().all(|line| out.lines().any(|found| found == line)), "{out}{err}");
        assert!(out.contains("not_after = \"20"), "{out}");
        assert_eq!(fs::read_to_string(&config).expect("a file"), text);
    }
    // A file without any rights for others stays as it is, and a folder that cannot be written is said.
    fs::write(&config, format!("{text}secrets = [{{ sha256 = \"{hash}\", not_after = \"tomorrow\" }}]\n")).expect("a file");
    let (code, _, err) = ended(&command(&["list", "--config", path]).output().expect("it runs"));
    assert!(code == Some(1) && err.contains("found \"tomorrow\"; a time with its zone is allowed"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_name_of_a_key_outlasts_its_rotation() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (folder.path().join("lakegate.toml"), folder.path().join("data"));
    let pages = "kind = \"browser\"\nallowed_origins = [\"https://menu.example\"]\nevents_burst = 10000\nevents_per_second = 1";
    fs::write(&config, key("web", "old", pages)).expect("a file");
    let gateway = Setup::new(&data).config(&config).start().await;
    let client = gateway.client();
    let page = |secret: &str| bearer(secret).header("origin", "https://menu.example");
    let first = page("old");
    assert_eq!(client.post(Wire::H1, &first).await.expect("an answer").told(1), [Told::Accepted]);
    // Half of the burst is used with the old secret.
    let many = format!("[{}]", vec!["{}"; 5_000].join(","));
    let used = crate::support::client::Post { body: many.into(), ..page("old") };
    assert_eq!(client.post(Wire::H1, &used).await.expect("an answer").status, 422);

    let place = ["--data-dir", data.to_str().expect("text")];
    let (out, err) = keys(&config, &[&["rotate", "web", "--overlap", "1h", "--reload"], &place[..]].concat());
    assert!(err.contains(&format!("the gateway (process {}) reads its configuration again", gateway.id())), "{err}");
    let new = printed_secret(&out);
    Scrape::when("it is in force", &gateway, |scrape| scrape.value("config_reloads") == 1).await;
    let again = first.clone().header("authorization", format!("Bearer {new}"));
    assert_eq!(client.post(Wire::H1, &again).await.expect("an answer").told(1), [Told::Duplicate], "the same dedup scope");
    let beyond = used.clone().header("authorization", format!("Bearer {new}"));
    assert_eq!(client.post(Wire::H1, &beyond).await.expect("an answer").status, 429, "the same rate");
    let letters: Vec<_> =
        fs::read_dir(data.join("dead-letters")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(letters.iter().any(|name| name == "web"), "{letters:?}");
    assert_eq!(letters.iter().filter(|name| name.to_string_lossy().starts_with("web")).count(), 1, "{letters:?}");

    // The list says what the gateway saw.
    let listed = list(&config, &place);
    assert_eq!(ids(&listed, 0), [id(&new), id("old")]);
    let used = listed[0]["secrets"].as_array().expect("a list").iter().all(|secret| secret["last_used"].as_str() > Some("2020"));
    assert!(used, "{listed:#}");
    let (table, _) = keys(&config, &[&["list"], &place[..]].concat());
    assert!(table.lines().any(|line| line.starts_with("web   browser  ") && line.contains(" expires soon ")), "{table}");
    // A secret that leaked is removed, and the next request with it is refused.
    keys(&config, &[&["revoke", "web", "--secret", &id("old"), "--reload"], &place[..]].concat());
    Scrape::when("its line is gone", &gateway, |scrape| scrape.labelled("key_last_used_timestamp_seconds").len() == 1).await;
    assert_eq!(client.post(Wire::H1, &page("old")).await.expect("an answer").problem_code(), "unknown_key");
    gateway.stop().await;
    // Without a gateway.
    let (_, err) = keys(&config, &[&["rotate", "web"], &place[..]].concat());
    assert!(err.contains("systemctl reload lakegate"), "{err}");
    let (_, err) = keys(&config, &[&["list"], &place[..]].concat());
    assert!(err.contains("when each secret was last used is not known: nothing answers on"), "{err}");
}
