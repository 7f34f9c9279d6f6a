//! Where is my event, if the sink is a stream? `lakegate find` and `GET /admin/events/{uuid}` tell its fate there.

use std::{fs, time::Duration};

use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use crate::support::{
    client::{Post, Told, Wire, get_plain},
    events, eventually,
    gateway::Gateway,
    kinesis::Fault,
    metrics::Scrape,
    streaming::{Rig, identities, send},
};

/// Longer than any of this takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn find(gateway: &Gateway, uuid: Uuid) -> Value {
    let answer = get_plain(gateway.admin(), &format!("/admin/events/{uuid}")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The only acceptance, and what the sink made of it.
fn in_sink(story: &Value) -> (&Value, &Value) {
    let accepted = story["accepted"].as_array().expect("acceptances");
    assert_eq!((accepted.len(), accepted[0]["sinks"].as_array().map(Vec::len)), (1, Some(1)), "{story}");
    (&accepted[0], &accepted[0]["sinks"][0])
}

/// A time of the answer, which texts compare by.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

async fn accepted(gateway: &Gateway, event: Vec<u8>) {
    let told = gateway.client().post(Wire::H1, &Post::json(event)).await.expect("an answer").told(1);
    assert_eq!(told, [Told::Accepted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_event_has_its_shard_and_its_time_also_after_it_was_sent_twice_and_after_a_kill() {
    let rig = Rig::with_shards(3).await;
    let mut gateway = rig.setup.start().await;
    let before = now();
    let sent = send(&gateway.client(), 60).await;
    Scrape::when_drained(&gateway).await;
    // The next call has no answer: its event comes twice.
    rig.stream.script([Some(Fault::ResetAfter)]);
    let twice = identities(1)[0];
    accepted(&gateway, events::small(twice)).await;
    Scrape::when_drained(&gateway).await;
    let after = now();
    let contents = rig.stream.contents();
    assert_eq!(contents.copies[&twice].len(), 2);
    for round in 0..2 {
        for uuid in sent.iter().chain([&twice]) {
            let story = find(&gateway, *uuid).await;
            let (accepted, sink) = in_sink(&story);
            assert_eq!((&story["status"], &sink["status"]), (&"delivered".into(), &"delivered".into()), "{round}: {story}");
            let at = sink["at"].as_str().expect("a time");
            assert!(
                *before <= *at && *at <= *after && accepted["received"].as_str().is_some_and(|received| received <= at),
                "{story}"
            );
            let shard = &rig.stream.shards()[contents.copies[uuid][0].shard].id;
            assert_eq!(sink["shard"], **shard, "{round}: {story}");
        }
        gateway.kill();
        gateway = rig.setup.start().await;
    }
    // In words, from a running gateway and without one.
    let shown = async || {
        let mut command = Command::from(rig.setup.command(&["find", &twice.to_string()]));
        let done = command.output().await.expect("it starts");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let shard = &rig.stream.shards()[contents.copies[&twice][0].shard].id;
    let running = shown().await;
    gateway.stop().await;
    for text in [running, shown().await] {
        assert!(text.contains("and delivered to kinesis") && text.contains(&format!(", shard {shard}\n")), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_for_a_record_is_refused_and_its_dead_letter_is_named() {
    let rig = Rig::with_shards(1).await.tuned("record_bytes_max", 4_000).tuned("aggregate_bytes_max", 4_000);
    let gateway = rig.setup.start().await;
    let [large, small]: [Uuid; 2] = identities(2).try_into().expect("two");
    // Space before the last brace would not go into the record.
    let event = events::small(large);
    accepted(&gateway, [&event[..1], &[b' '; 6_000], &event[1..]].concat()).await;
    accepted(&gateway, events::small(small)).await;
    eventually("it is refused", LIMIT, async || find(&gateway, large).await["status"] == "refused").await;
    let story = find(&gateway, large).await;
    let (_, sink) = in_sink(&story);
    assert!(sink["status"] == "refused" && sink["at"].is_string() && sink["shard"].is_null(), "{story}");
    assert_eq!(
        (&story["rejected"][0]["code"], &story["rejected"][0]["state"]),
        (&"refused_by_sink".into(), &"open".into()),
        "{story}"
    );
    eventually("the other is delivered", LIMIT, async || find(&gateway, small).await["status"] == "delivered").await;
    // The stream lacks it, and that is what the ledger says.
    let mut check = Command::from(rig.setup.command(&["ledger", "--check", "stream", "--since", "1d"]));
    let checked = check.output().await.expect("it starts");
    assert!(checked.status.success(), "{checked:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_outage_an_event_is_spooled_and_afterwards_delivered_or_lost_by_the_disk() {
    let rig = Rig::with_shards(2).await.set("stop.drain_seconds", 0);
    let mut gateway = rig.setup.start().await;
    rig.server.begin_outage().await;
    let waiting = identities(3);
    for uuid in &waiting {
        accepted(&gateway, events::small(*uuid)).await;
    }
    for uuid in &waiting {
        let story = find(&gateway, *uuid).await;
        let (accepted, sink) = in_sink(&story);
        let statuses = [&story["status"], &sink["status"]];
        assert_eq!((statuses, &accepted["spool"]["is_there"]), ([&"spooled".into(); 2], &true.into()), "{story}");
        assert!(sink["at"].is_null() && sink["shard"].is_null(), "{story}");
    }
    let ledger = async |gateway: &Gateway| get_plain(gateway.admin(), "/admin/ledger?since=1d").await.expect("an answer").json();
    let accepted = async || {
        let ledger = ledger(&gateway).await;
        ledger["minutes"].as_array().expect("minutes").iter().map(|row| row["accepted"].as_u64().unwrap_or(0)).sum::<u64>() == 3
    };
    eventually("they are counted", LIMIT, accepted).await;
    gateway.kill();
    // The disk loses the first one.
    let spool = rig.folder.path().join("spool");
    let segments = fs::read_dir(&spool).expect("the spool").map(|entry| entry.expect("an entry").path());
    let segment = segments.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().expect("a segment");
    let mut bytes = fs::read(&segment).expect("read");
    bytes[200] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let before = now();
    rig.server.end_outage().await;
    let gateway = rig.setup.clone().set("spool.unreadable_block_seconds", 0).start().await;
    for uuid in &waiting[1..] {
        eventually("it is delivered", LIMIT, async || find(&gateway, *uuid).await["status"] == "delivered").await;
        let story = find(&gateway, *uuid).await;
        let (accepted, sink) = in_sink(&story);
        let (received, at) = (accepted["received"].as_str().expect("a time"), sink["at"].as_str().expect("a time"));
        assert!(received < &*before && *before <= *at && sink["shard"].is_string(), "{story}");
    }
    let story = find(&gateway, waiting[0]).await;
    assert_eq!((&story["status"], &in_sink(&story).1["status"]), (&"lost".into(), &"lost".into()), "{story}");
    assert_eq!(ledger(&gateway).await["imbalance"], 0);
    let mut check = Command::from(rig.setup.command(&["ledger", "--check", "stream", "--since", "1d"]));
    let checked = check.output().await.expect("it starts");
    assert!(checked.status.success(), "{checked:?}");
    gateway.stop().await;
}
