//! Bodies that are small on the wire and large as dead letters.

use std::{collections::HashSet, fs, time::Duration};

use fastrand::Rng;

use super::{event_of, printed};
use crate::support::{
    client::{Post, Told, Wire},
    events,
    gateway::Setup,
    metrics::Scrape,
    readback::dead_letters,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_compressed_does_not_lie_inflated_on_the_disk_and_is_whole_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).start().await;
    // Eight to ten times as large as when packed: as honest events are.
    let sent: Vec<String> =
        (0..2_000).map(|_| event_of("\"no:such:event\"", &format!(",\"pad\":\"{}\"", " ".repeat(150)))).collect();
    let body = events::packed("br", sent.join("\n").as_bytes());
    let bytes = body.len();
    let post = Post::lines(body).header("content-encoding", "br");
    let answer = gateway.client().post(Wire::H2, &post).await.expect("an answer");
    assert!(answer.told(2_000).iter().all(|told| matches!(told, Told::Rejected(_))), "{answer:?}");
    let held = Scrape::of(&gateway).await.value("dead_letters_bytes") as usize;
    assert!(held < 4 * bytes, "{bytes} bytes became {held}");
    gateway.stop().await;

    let letters: HashSet<Vec<u8>> =
        dead_letters(&folder.path().join("dead-letters")).into_iter().map(|letter| letter.raw).collect();
    assert!(letters.len() == 2_000 && sent.iter().all(|event| letters.contains(event.as_bytes())), "{}", letters.len());
    let data = folder.path().to_str().expect("text");
    let uuid = &sent[1_234][15..51];
    let shown = printed(&["dead-letters", "show", uuid, "--data-dir", data]);
    assert!(shown.contains(uuid) && shown.contains("unknown_event"), "{shown}");
    let dropped = printed(&["dead-letters", "drop", "--where", &format!("event_uuid={uuid}"), "--data-dir", data]);
    assert!(dropped.contains("dropped 1 dead letter"), "{dropped}");
    let left = dead_letters(&folder.path().join("dead-letters"));
    assert!(left.len() == 1_999 && left.iter().all(|letter| letter.line["event_uuid"] != uuid), "the others stay packed");
    let on_disk = fs::metadata(folder.path().join("dead-letters/dev/00000001.ndjson")).expect("a file").len() as usize;
    assert!(on_disk < held + 1000, "{held} bytes became {on_disk}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_letters_leave_room_for_small_ones_and_readyz_warns_before_there_is_none() {
    const QUOTA: u64 = 16 << 20;
    const LIMIT: Duration = Duration::from_secs(30);
    let folder = tempfile::tempdir().expect("a folder");
    let letters = folder.path().join("dead-letters/dev");
    fs::create_dir_all(&letters).expect("a folder");
    // More than large ones may hold.
    fs::File::create(letters.join("filler")).and_then(|file| file.set_len(QUOTA / 5 * 4)).expect("a sparse file");
    let gateway = Setup::new(folder.path()).set("dead_letters.bytes_per_key_max", QUOTA).start().await;
    let client = gateway.client();
    let answer = gateway.until_reason("dead_letters_filling", LIMIT).await.json();
    assert_eq!((&answer["ready"], &answer["reasons"][0]["place"]), (&true.into(), &"dev".into()), "{answer}");

    let mut rng = Rng::new();
    let noise: String = (0..200_000).map(|_| rng.alphanumeric()).collect();
    let large = event_of("\"no:such:event\"", &format!(",\"noise\":\"{noise}\""));
    let told = client.post(Wire::H1, &Post::json(large.clone())).await.expect("an answer").told(1);
    assert_eq!(told, [Told::Retry("dead_letters_full".into())]);
    gateway.until_reason("dead_letters_full", LIMIT).await;
    let small = event_of("\"no:such:event\"", "");
    let told = client.post(Wire::H1, &Post::json(small)).await.expect("an answer").told(1);
    assert_eq!(told, [Told::Rejected("unknown_event".into())]);

    fs::remove_file(letters.join("filler")).expect("it is there");
    gateway.until_reason("", LIMIT).await;
    let told = client.post(Wire::H1, &Post::json(large)).await.expect("an answer").told(1);
    assert_eq!(told, [Told::Rejected("unknown_event".into())]);
    gateway.stop().await;
}
