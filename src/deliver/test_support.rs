//! The delivery side of a gateway in a folder, for the tests of the deliverers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{Shared, SinkNames, SinkState};
use crate::{
    conditions::Conditions,
    dead_letters::{DeadLetters, Quota},
    dedup::{Scopes, Window, WindowConfig},
    event::{CreatedAt, Envelope, EventName, unix_millis},
    limits::{SPOOL_QUEUE_BYTES_MAX, SPOOL_UNREADABLE_PATIENCE},
    progress::Progress,
    spool::{FrameBuffer, RealDisk, Spool, SpoolConfig},
    telemetry::{DeliveryMetrics, Metrics, Traces},
};

/// The delivery side of a gateway in a folder.
pub(super) struct TestDelivery {
    pub(super) spool: Arc<Spool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) delivery: DeliveryMetrics,
    pub(super) progress: Arc<Progress>,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) window: Window,
    pub(super) conditions: Conditions,
    pub(super) folder: PathBuf,
}

impl TestDelivery {
    pub(super) fn open(folder: &Path) -> Self {
        let (metrics, conditions) = (Arc::new(Metrics::new()), Conditions::default());
        let config = SpoolConfig {
            dir: folder.join("spool"),
            segment_bytes: 1 << 20,
            quota_bytes: 1 << 30,
            free_bytes_min: 0,
            queue_bytes_max: SPOOL_QUEUE_BYTES_MAX,
            unreadable: SPOOL_UNREADABLE_PATIENCE,
            conditions: conditions.clone(),
        };
        let (spool, _) = Spool::open(Arc::new(RealDisk), config).unwrap();
        let (window, _) = Window::open(WindowConfig::new(folder.join("dedup")), 0).unwrap();
        Self {
            progress: Arc::new(Progress::new(spool.durable_end(), spool.cursor().delivered_exclusive)),
            spool: Arc::new(spool),
            dead_letters: Arc::new(
                DeadLetters::open(
                    folder.join("dead-letters"),
                    Quota { bytes_per_source_max: 1, discard_after: None },
                    None,
                    metrics.clone(),
                    Conditions::default(),
                )
                .unwrap(),
            ),
            window,
            delivery: metrics.delivery.of("script"),
            metrics,
            conditions,
            folder: folder.to_owned(),
        }
    }

    pub(super) async fn append(&self, events: impl IntoIterator<Item = u128>) {
        self.append_received(events, unix_millis(SystemTime::now())).await;
    }

    pub(super) async fn append_received(&self, events: impl IntoIterator<Item = u128>, received_millis: i64) {
        let mut frames = FrameBuffer::default();
        for event in events {
            let envelope = Envelope {
                event_uuid: Uuid::from_u128(event),
                event_name: EventName::parse("menu:item:viewed").unwrap(),
                schema_version: None,
                created_at: CreatedAt { seconds: 0.0, millis: 0 },
                received_millis,
                source: "web",
                client_address: None,
                has_reserved_fields: false,
                names_its_version: false,
                dedup_unchecked: false,
                replayed: false,
                is_scoped: false,
                is_late: false,
            };
            frames.push(|buffer| envelope.encode(payload(event).as_bytes(), buffer)).unwrap();
        }
        let (done, appended) = tokio::sync::oneshot::channel();
        self.spool.append(frames, move |result| {
            let _ = done.send(result);
        });
        appended.await.unwrap().unwrap();
    }

    pub(super) fn shared(&self) -> Shared {
        Shared {
            spool: self.spool.clone(),
            window: Some(self.window.clone()),
            dead_letters: self.dead_letters.clone(),
            progress: self.progress.sinks()[0].clone(),
            cursor: self.spool.first_sink(),
            place: "".into(),
            sinks: SinkNames::one(),
            quota_bytes: u64::MAX,
            metrics: self.delivery.clone(),
            state: watch::Sender::new(SinkState { name: "script".into(), failing: None, oldest_received_millis: None }),
            traces: Traces::default(),
            conditions: self.conditions.clone(),
            scopes: Scopes::random(),
        }
    }
}

/// The event with number `event`; its key `k` is one of eight.
pub(super) fn payload(event: u128) -> String {
    format!(r#"{{"n":{event},"k":{}}}"#, event % 8)
}
