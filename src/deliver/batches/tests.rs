//! The deliverer against sinks that answer as a script says, over a real spool.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::*;
use crate::deliver::back::{Back, payload};

/// What was asked of a sink: the stretch, and the numbers of the events in it.
type Asked = Arc<Mutex<Vec<(u64, u64, Vec<u128>)>>>;

/// How a sink answers a batch.
type Answer = Box<dyn Fn(usize) -> Vec<Delivery> + Send + Sync>;

/// Answers each batch as the next entry says; then everything is delivered.
struct Script {
    asked: Asked,
    answers: Mutex<VecDeque<Answer>>,
    by_stretch: bool,
}

impl Sink for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Pin<Box<dyn Future<Output = Vec<Delivery>> + Send + 'a>> {
        let events = batch.records.iter().map(|record| record.event_uuid().as_u128()).collect();
        self.asked.lock().unwrap().push((batch.first_seq_inclusive, batch.end_seq_exclusive, events));
        let answer = self.answers.lock().unwrap().pop_front();
        let count = batch.records.len();
        Box::pin(async move { answer.map_or_else(|| vec![Delivery::Delivered; count], |answer| answer(count)) })
    }

    fn replays_by_stretch(&self) -> bool {
        self.by_stretch
    }
}

fn deliverer(back: &Back, asked: &Asked, by_stretch: bool, age_max: Duration, answers: Vec<Answer>) -> BatchDeliverer {
    let sink = Box::new(Script { asked: asked.clone(), answers: Mutex::new(answers.into()), by_stretch });
    BatchDeliverer { shared: back.shared(), sink, bounds: BatchBounds { records_max: 1000, bytes_max: 1 << 20, age_max } }
}

/// Delivers what is spooled and stops.
async fn drain(back: &Back, asked: &Asked, by_stretch: bool, answers: Vec<Answer>) {
    let (_stop, stopping) = watch::channel(true);
    deliverer(back, asked, by_stretch, Duration::ZERO, answers).run(stopping).await;
}

fn asked(asked: &Asked) -> Vec<(u64, u64, Vec<u128>)> {
    asked.lock().unwrap().clone()
}

fn retry() -> Delivery {
    Delivery::Retry("throttled".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_sent_again_and_silence_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (Back::open(folder.path()), Asked::default());
    back.append(1..=4).await;
    let partly: Answer = Box::new(|_| vec![Delivery::Delivered, retry(), Delivery::Delivered, retry()]);
    let too_short: Answer = Box::new(|_| vec![Delivery::Delivered]);
    drain(&back, &log, false, vec![partly, too_short]).await;
    assert_eq!(asked(&log), [(0, 4, vec![1, 2, 3, 4]), (0, 4, vec![2, 4]), (0, 4, vec![4])]);
    assert_eq!(back.metrics.delivery.delivered_events.get(), 4);
    assert_eq!(back.spool.cursor().delivered_exclusive, 4);
    assert_eq!(back.progress.delivered_exclusive(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_refuses_for_good_becomes_a_dead_letter_even_beyond_the_quota() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (Back::open(folder.path()), Asked::default());
    back.append(1..=3).await;
    let refuse_second: Answer =
        Box::new(|_| vec![Delivery::Delivered, Delivery::Refused("too large".into()), Delivery::Delivered]);
    drain(&back, &log, false, vec![refuse_second]).await;
    assert_eq!(asked(&log).len(), 1);
    assert_eq!((back.metrics.delivery.delivered_events.get(), back.metrics.delivery.refused_events.get()), (2, 1));
    let letter = std::fs::read_to_string(folder.path().join("rejected/web/00000001.ndjson")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
    assert_eq!((&letter["code"], &letter["detail"]), (&"refused_by_sink".into(), &"too large".into()));
    assert_eq!(letter["raw"], payload(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_cut_short_is_repeated_as_the_same_stretch_whatever_came_in_since() {
    let folder = tempfile::tempdir().unwrap();
    let log = Asked::default();
    {
        let back = Back::open(folder.path());
        back.append(1..=3).await;
        // The process dies while the sink is at work: the deliverer is dropped in the middle of it.
        let never: Answer = Box::new(|count| vec![retry(); count]);
        let deliverer = deliverer(&back, &log, true, Duration::ZERO, (0..1000).map(|_| clone_of(&never)).collect());
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(deliverer.run(stopping));
        while asked(&log).is_empty() {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        back.append(4..=5).await;
    }
    log.lock().unwrap().clear();
    let back = Back::open(folder.path());
    assert_eq!(back.spool.cursor().planned_end_exclusive, Some(3));
    drain(&back, &log, true, vec![]).await;
    assert_eq!(asked(&log), [(0, 3, vec![1, 2, 3]), (3, 5, vec![4, 5])]);
}

fn clone_of(_: &Answer) -> Answer {
    Box::new(|count| vec![retry(); count])
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_delivery_does_not_wait_for_a_batch_to_grow_old() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (Back::open(folder.path()), Asked::default());
    let (stop, stopping) = watch::channel(false);
    let hours = Duration::from_secs(36_000);
    let running = tokio::spawn(deliverer(&back, &log, false, hours, vec![]).run(stopping));
    back.append(1..=2).await;
    assert_eq!(back.progress.delivered_exclusive(), 0, "nobody waits yet");
    assert!(back.progress.await_delivered(&[0..2], Duration::from_secs(20)).await);
    back.append(3..=3).await;
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(back.spool.cursor().delivered_exclusive, 3, "a stop drains what is not due yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_goes_only_when_the_window_has_its_identities_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (back, log) = (Back::open(folder.path()), Asked::default());
    let events = 30_000;
    let claims = back.window.claim(&(1..=events).map(Uuid::from_u128).collect::<Vec<_>>(), 0).unwrap();
    back.append(1..=events).await;
    back.append([events + 1]).await;
    let segments = back.spool.stats().segments;
    assert!(segments > 1, "{segments}");
    drain(&back, &log, false, vec![]).await;
    assert_eq!(back.spool.stats().segments, segments, "delivered, but their identities are not confirmed");
    claims.confirm(0);
    back.progress.confirm(back.spool.durable_end());
    assert_eq!(back.window.sealed_mark(), 0);
    back.append([events + 2]).await;
    back.progress.confirm(back.spool.durable_end());
    drain(&back, &log, false, vec![]).await;
    assert!(back.spool.stats().segments < segments);
    assert!(back.window.sealed_mark() >= back.spool.stats().first_seq, "{}", back.window.sealed_mark());
}
