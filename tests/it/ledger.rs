//! Promise P2: every event ends as exactly one of accepted, duplicate, rejected, retry; and all counts add up: in each
//! answer, in `/metrics`, in the lake and in the dead letters.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use fastrand::Rng;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::support::{
    client::{Client, Told, Wire},
    events::{self, Form},
    gateway::Setup,
    metrics::Scrape,
    outage::Outage,
    readback::{LakeRows, dead_letters},
    say, seed,
};

/// What clients were told, added up.
#[derive(Debug, Default)]
struct Book {
    requests: i64,
    /// Accepted, duplicate, rejected, retry.
    outcomes: [i64; 4],
    rejected_by_code: HashMap<String, i64>,
    accepted: HashSet<Uuid>,
}

impl Book {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
        for (code, count) in other.rejected_by_code {
            *self.rejected_by_code.entry(code).or_default() += count;
        }
        self.accepted.extend(other.accepted);
    }

    fn write_down(&mut self, uuid: Uuid, told: Told) {
        match told {
            Told::Accepted => {
                self.outcomes[0] += 1;
                assert!(self.accepted.insert(uuid), "{uuid} was accepted twice");
            }
            Told::Duplicate => {
                self.outcomes[1] += 1;
                assert!(self.accepted.contains(&uuid), "{uuid} is a duplicate of nothing");
            }
            Told::Rejected(code) => {
                self.outcomes[2] += 1;
                assert_eq!(code, events::bad(uuid).code);
                *self.rejected_by_code.entry(code).or_default() += 1;
            }
            Told::Retry(_) => self.outcomes[3] += 1,
        }
    }
}

/// Sends mixed batches: good events, bad ones of every kind, repetitions within the request and of earlier ones.
async fn send_mixed(client: Client, mut rng: Rng, requests: usize) -> Book {
    let mut book = Book { requests: requests as i64, ..Book::default() };
    let mut connection = client.connect(if rng.bool() { Wire::H1 } else { Wire::H2 }).await.expect("it is ready");
    let mut earlier: Vec<Uuid> = Vec::new();
    for _ in 0..requests {
        let form = Form::any(&mut rng);
        let mut items: Vec<(Uuid, Vec<u8>)> = Vec::new();
        for _ in 0..rng.usize(1..40) {
            let uuid = events::identity(&mut rng);
            match rng.u8(..10) {
                0 | 1 => {
                    let bad = events::bad(uuid);
                    if form.is_lines() || !bad.needs_lines {
                        items.push((uuid, bad.bytes));
                    }
                }
                2 if !earlier.is_empty() => {
                    let again = earlier[rng.usize(..earlier.len())];
                    items.push((again, events::good(again)));
                }
                3 if !items.is_empty() => items.push(items[rng.usize(..items.len())].clone()),
                _ => {
                    items.push((uuid, events::good(uuid)));
                    earlier.push(uuid);
                }
            }
        }
        if items.is_empty() {
            items.push((earlier.first().copied().unwrap_or(Uuid::max()), b"{}".to_vec()));
            let uuid = events::identity(&mut rng);
            items[0] = (uuid, events::good(uuid));
            earlier.push(uuid);
        }
        let bodies: Vec<_> = items.iter().map(|(_, bytes)| bytes).collect();
        let answer = connection.post(&form.post(&bodies)).await.expect("an answer");
        for ((uuid, _), told) in items.iter().zip(answer.told(items.len())) {
            book.write_down(*uuid, told);
        }
    }
    book
}

async fn send_from_many(client: &Client, rng: &mut Rng, requests: usize) -> Book {
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(send_mixed(client.clone(), rng.fork(), requests))).collect();
    let mut book = Book::default();
    for task in tasks {
        book.add(task.await.expect("no answer is wrong"));
    }
    book
}

/// The process's own sums are those of its clients.
fn assert_agreement(scrape: &Scrape, book: &Book) {
    scrape.assert_ledger();
    assert_eq!(scrape.outcomes(), book.outcomes, "the process and its clients: {scrape:?}");
    assert_eq!(scrape.sum("requests", "route=\"/v1/events\""), book.requests);
    assert_eq!(scrape.value("spool_appended_events"), book.outcomes[0], "accepted = appended: {scrape:?}");
    let kept = scrape.value("dead_letters") + scrape.value("repeated_dead_letters");
    assert_eq!(kept, book.outcomes[2], "rejected = dead letters written + repeated");
    for (code, count) in &book.rejected_by_code {
        assert_eq!(scrape.sum("rejected_events", &format!("code=\"{code}\"")), *count, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_counted_once_and_the_sums_agree_everywhere_also_after_a_restart_with_a_backlog() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_LEDGER_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 60).set("stop.drain_seconds", 1);

    let mut gateway = setup.start().await;
    let mut book = send_from_many(&gateway.client(), &mut rng, 20).await;
    assert_agreement(&Scrape::when_drained(&gateway).await, &book);
    // With a sink that is away, what is spooled stands for what is not delivered.
    let outage = Outage::begin(folder.path());
    book.add(send_from_many(&gateway.client(), &mut rng, 10).await);
    let with_backlog = Scrape::when("nothing is in flight", &gateway, Scrape::is_quiet).await;
    assert_agreement(&with_backlog, &book);
    let backlog = with_backlog.value("spool_events");
    assert!(backlog > 0, "{with_backlog:?}");
    gateway.terminate();
    assert_eq!(gateway.exit_code(Duration::from_secs(30)).await, 0);
    outage.repair();

    let gateway = setup.start().await;
    let second = send_from_many(&gateway.client(), &mut rng, 10).await;
    let drained = Scrape::when_drained(&gateway).await;
    assert_agreement(&drained, &second);
    assert_eq!(drained.value("spool_recovered_events"), backlog, "what one process left is what the next one found");
    assert_eq!(drained.value("delivered_events"), backlog + second.outcomes[0]);
    gateway.stop().await;

    book.add(second);
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&book.accepted, events::good);
    let letters = dead_letters(&folder.path().join("dead-letters"));
    let mut letters_by_code = HashMap::new();
    for letter in &letters {
        *letters_by_code.entry(letter.code().to_owned()).or_default() += 1 + letter.repeats;
    }
    assert_eq!(letters_by_code, book.rejected_by_code);
    let [accepted, duplicates, rejected, retry] = book.outcomes;
    say(format_args!(
        "ledger: {accepted} accepted + {duplicates} duplicates + {rejected} rejected ({} codes) + {retry} retry, in {} requests",
        letters_by_code.len(),
        book.requests
    ));
    assert!(letters_by_code.len() >= 12, "every kind of bad event came: {letters_by_code:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spooled_but_not_delivered_in_time_is_counted_as_retry_and_is_a_duplicate_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(folder.path()).set("lake.flush_age_ms", 60).set("http.delivered_wait_seconds", 1);
    let gateway = setup.start().await;
    let client = gateway.client();
    let uuid = events::identity(&mut Rng::new());
    let post = Form::Array.post(&[events::small(uuid)]).header("prefer", "durability=delivered");
    let outage = Outage::begin(folder.path());
    for _ in 0..2 {
        let answer = client.post(Wire::H1, &post).await.expect("an answer");
        assert_eq!(answer.told(1), [Told::Retry("not_delivered_in_time".into())], "{answer:?}");
        assert!((2..=5).contains(&answer.header("retry-after").parse::<u64>().expect("seconds")), "{answer:?}");
    }
    // Without the preference it is what it is: on disk.
    let answer = client.post(Wire::H2, &Form::Lines.post(&[events::small(uuid)])).await.expect("an answer");
    assert_eq!(answer.told(1), [Told::Duplicate]);
    let held = Scrape::when("nothing is in flight", &gateway, Scrape::is_quiet).await;
    held.assert_ledger();
    assert_eq!((held.outcomes(), held.value("spool_appended_events"), held.value("spool_events")), ([0, 1, 0, 2], 1, 1));
    outage.repair();
    Scrape::when_drained(&gateway).await.assert_ledger();
    let answer = client.post(Wire::H1, &post).await.expect("an answer");
    assert_eq!((answer.told(1), answer.header("preference-applied")), (vec![Told::Duplicate], "durability=delivered"));
    // What is delivered when it is answered so can be read at that moment.
    let uuid = events::identity(&mut Rng::new());
    let post = Form::Array.post(&[events::small(uuid)]).header("prefer", "durability=delivered");
    assert_eq!(client.post(Wire::H2, &post).await.expect("an answer").told(1), [Told::Accepted]);
    assert_eq!(LakeRows::read(&folder.path().join("lake")).rows[&uuid].len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_in_the_middle_break_no_sum_and_what_was_stored_unseen_is_a_duplicate() {
    let mut rng = Rng::with_seed(seed("LAKEGATE_LEDGER_SEED"));
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path()).set("lake.flush_age_ms", 60).start().await;
    let client = gateway.client();
    let mut sent = Vec::new();
    let mut cut_bodies = Vec::new();
    let mut seen = 0;
    for round in 0..120 {
        let uuids: Vec<_> = (0..rng.usize(1..30)).map(|_| events::identity(&mut rng)).collect();
        let bodies: Vec<_> = uuids.iter().map(|uuid| events::small(*uuid)).collect();
        let post = Form::Array.post(&bodies);
        if round % 3 == 0 {
            // Cut anywhere, also in the head, or whole and not waited for.
            let head = format!("POST /v1/events?key=dev HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", post.body.len());
            let request = [head.as_bytes(), &post.body].concat();
            let end = if rng.bool() { request.len() } else { rng.usize(1..request.len()) };
            let mut stream = client.stream(Wire::H1).await.expect("it is ready");
            stream.write_all(&request[..end]).await.expect("it reads");
            stream.flush().await.expect("it reads");
            if end < request.len() { &mut cut_bodies } else { &mut sent }.extend(uuids);
            continue;
        }
        // Both ways to hang up: HTTP/2 resets the stream, HTTP/1.1 has only the connection to close.
        let mut connection = client.connect(if round % 3 == 1 { Wire::H1 } else { Wire::H2 }).await.expect("it is ready");
        let patience = Duration::from_micros(rng.u64(..8_000));
        seen += usize::from(tokio::time::timeout(patience, connection.post(&post)).await.is_ok());
        sent.extend(uuids);
    }
    // The scrape is a connection too.
    let quiet = Scrape::when("nobody else is connected", &gateway, |scrape| {
        scrape.is_quiet() && scrape.value("connections") <= 1 && scrape.value("spool_events") == 0
    });
    let quiet = quiet.await;
    quiet.assert_ledger();
    let unseen = quiet.outcomes()[0];
    assert_eq!(quiet.outcomes(), [unseen, 0, 0, 0], "each was sent once: {quiet:?}");
    assert_eq!(quiet.value("spool_appended_events"), unseen);
    assert!(unseen > 0 && seen < 80, "some were stored and some answers were not waited for: {unseen}, {seen}");

    // Everybody sends again what they heard nothing of.
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let (mut accepted, mut duplicates) = (0, 0);
    for (uuids, may_be_stored) in [(&sent, true), (&cut_bodies, false)] {
        for uuids in uuids.chunks(500) {
            let bodies: Vec<_> = uuids.iter().map(|uuid| events::small(*uuid)).collect();
            for told in connection.post(&Form::Array.post(&bodies)).await.expect("an answer").told(uuids.len()) {
                match told {
                    Told::Accepted => accepted += 1,
                    Told::Duplicate if may_be_stored => duplicates += 1,
                    told => panic!("{told:?}"),
                }
            }
        }
    }
    assert_eq!(duplicates, unseen, "what was stored though nobody read the answer is what is a duplicate now");
    let drained = Scrape::when_drained(&gateway).await;
    drained.assert_ledger();
    assert_eq!(drained.outcomes(), [unseen + accepted, duplicates, 0, 0]);
    gateway.stop().await;
    let all: HashSet<_> = sent.iter().chain(&cut_bodies).copied().collect();
    LakeRows::read(&folder.path().join("lake")).assert_exactly(&all, events::small);
    say(format_args!("ledger: of {} events from clients that hung up, {unseen} were stored all the same", all.len()));
}
