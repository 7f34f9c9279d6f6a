//! The deliverer against sinks that answer as a script says, over a real spool.

use std::{collections::VecDeque, path::Path, pin::Pin, sync::Mutex};

use uuid::Uuid;

use super::*;
use crate::{
    dedup::WindowConfig,
    event::{CreatedAt, Envelope, EventName},
    limits::SPOOL_QUEUE_BYTES_MAX,
    spool::{FrameBuffer, RealDisk, SpoolConfig},
};

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

/// A gateway's back half in a folder.
struct Back {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    dead_letters: Arc<DeadLetters>,
    window: Window,
}

impl Back {
    fn open(folder: &Path) -> Self {
        let metrics = Arc::new(Metrics::new());
        let config = SpoolConfig {
            dir: folder.join("spool"),
            segment_bytes: 1 << 20,
            quota_bytes: 1 << 30,
            free_bytes_min: 0,
            queue_bytes_max: SPOOL_QUEUE_BYTES_MAX,
        };
        let (spool, _) = Spool::open(Arc::new(RealDisk), config).unwrap();
        let (window, _) = Window::open(WindowConfig::new(folder.join("dedup")), 0).unwrap();
        Self {
            progress: Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive)),
            spool: Arc::new(spool),
            dead_letters: Arc::new(DeadLetters::open(folder.join("rejected"), 1, metrics.clone()).unwrap()),
            window,
            metrics,
        }
    }

    async fn append(&self, events: impl IntoIterator<Item = u128>) {
        let mut frames = FrameBuffer::default();
        for event in events {
            let envelope = Envelope {
                event_uuid: Uuid::from_u128(event),
                event_name: EventName::parse("menu:item:viewed").unwrap(),
                schema_version: None,
                created_at: CreatedAt { seconds: 0.0, millis: 0 },
                received_millis: unix_millis(SystemTime::now()),
                source: "web",
                has_reserved_fields: false,
                dedup_unchecked: false,
            };
            frames.push(|buffer| envelope.encode(format!("{{\"n\":{event}}}").as_bytes(), buffer)).unwrap();
        }
        let (done, appended) = tokio::sync::oneshot::channel();
        self.spool.append(frames, move |result| {
            let _ = done.send(result);
        });
        appended.await.unwrap().unwrap();
    }

    fn deliverer(&self, asked: &Asked, by_stretch: bool, age_max: Duration, answers: Vec<Answer>) -> Deliverer {
        let sink = Script { asked: asked.clone(), answers: Mutex::new(answers.into()), by_stretch };
        Deliverer {
            spool: self.spool.clone(),
            window: self.window.clone(),
            sink: Box::new(sink),
            dead_letters: self.dead_letters.clone(),
            progress: self.progress.clone(),
            bounds: BatchBounds { records_max: 1000, bytes_max: 1 << 20, age_max },
            quota_bytes: u64::MAX,
            metrics: self.metrics.clone(),
            state: watch::Sender::new(SinkState { name: "script", failing: None, oldest_received_millis: None }),
        }
    }

    /// Delivers what is spooled and stops.
    async fn drain(&self, asked: &Asked, by_stretch: bool, answers: Vec<Answer>) {
        let (_stop, stopping) = watch::channel(true);
        self.deliverer(asked, by_stretch, Duration::ZERO, answers).run(stopping).await;
    }
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
    back.drain(&log, false, vec![partly, too_short]).await;
    assert_eq!(asked(&log), [(0, 4, vec![1, 2, 3, 4]), (0, 4, vec![2, 4]), (0, 4, vec![4])]);
    assert_eq!(back.metrics.delivered_events.get(), 4);
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
    back.drain(&log, false, vec![refuse_second]).await;
    assert_eq!(asked(&log).len(), 1);
    assert_eq!((back.metrics.delivered_events.get(), back.metrics.refused_events.get()), (2, 1));
    let letter = std::fs::read_to_string(folder.path().join("rejected/web/00000001.ndjson")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
    assert_eq!((&letter["code"], &letter["detail"]), (&"refused_by_sink".into(), &"too large".into()));
    assert_eq!(letter["raw"], "{\"n\":2}");
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
        let deliverer = back.deliverer(&log, true, Duration::ZERO, (0..1000).map(|_| clone_of(&never)).collect());
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
    back.drain(&log, true, vec![]).await;
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
    let running = tokio::spawn(back.deliverer(&log, false, hours, vec![]).run(stopping));
    back.append(1..=2).await;
    assert_eq!(back.progress.delivered_exclusive(), 0, "nobody waits yet");
    assert!(back.progress.await_delivered(2, Duration::from_secs(20)).await);
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
    back.drain(&log, false, vec![]).await;
    assert_eq!(back.spool.stats().segments, segments, "delivered, but their identities are not confirmed");
    claims.confirm(0);
    back.progress.confirm(back.spool.durable_end());
    assert_eq!(back.window.sealed_mark(), 0);
    back.append([events + 2]).await;
    back.progress.confirm(back.spool.durable_end());
    back.drain(&log, false, vec![]).await;
    assert!(back.spool.stats().segments < segments);
    assert!(back.window.sealed_mark() >= back.spool.stats().first_seq, "{}", back.window.sealed_mark());
}
