//! The sinks: where each stands in the spool, and its deliverer.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::sync::watch;

use super::lake_location::location_of;
#[cfg(feature = "kafka")]
use crate::sink::kafka::KafkaStream;
use crate::{
    conditions::Conditions,
    config::{Config, DeadLettersKind, KafkaConfig, LakeConfig, Sink, SinkSettings, WhenSinkFull},
    dead_letters::DeadLetters,
    dedup::{Scopes, Window},
    deliver::{
        BatchBounds, BatchDeliverer, Deliverer, Dropping, EventFormat, Mode, Shared, SinkNames, SinkQuota, SinkState,
        StreamDeliverer, StreamFormat,
    },
    disk_headroom::WatchedSink,
    durable,
    ingest::AwaitedSink,
    limits::LAKE_BATCH_RECORDS_MAX,
    progress::{self, Progress},
    rig::{Rig, SwitchedSink},
    sink::{
        firehose::{self, DeliveryStream},
        kafka::{self, Topics},
        kinesis::{self, KinesisStream},
        lake::LakeSink,
        stream::{Stream, StreamSettings},
    },
    spool::{AssignedPosition, SinkCursor, SinkPosition, Spool},
    telemetry::{Metrics, Traces},
};

/// Folder of the journals, and of what the lake remembers, in the data folder.
const FOLDER: &str = "delivery";
const DEAD_LETTERS_JOURNAL: &str = "dead-letters.journal";

/// The sinks with their positions.
pub(super) struct Sinks {
    pub(super) progress: Arc<Progress>,
    sinks: Vec<OpenSink>,
}

struct OpenSink {
    sink: Sink,
    cursor: SinkCursor,
    journal: PathBuf,
    /// Where a lake stores what it remembers.
    lake_folder: PathBuf,
    quota: SinkQuota,
    state: watch::Sender<SinkState>,
    /// Its name if there are several sinks.
    place: Arc<str>,
}

/// What every deliverer needs.
pub(super) struct SinkParts<'a> {
    pub(super) config: &'a Config,
    pub(super) spool: &'a Arc<Spool>,
    pub(super) window: &'a Window,
    pub(super) dead_letters: &'a Arc<DeadLetters>,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) traces: &'a Traces,
    pub(super) conditions: &'a Conditions,
    pub(super) scopes: &'a Scopes,
    pub(super) rig: Option<&'a Arc<Rig>>,
}

impl Sinks {
    /// Gives each configured sink its position in `spool`.
    pub(super) fn open(config: &Config, spool: &Spool) -> anyhow::Result<Self> {
        let sinks = config.all_sinks().map_err(|(key, reason)| anyhow::anyhow!("{key}: {reason}"))?;
        let assigned = spool.positions_of(&sinks.iter().map(position_of).collect::<Vec<_>>());
        let folder = config.data_dir.join(FOLDER);
        take_over_journals(&folder, &assigned).context("the journals of the sinks cannot be taken over")?;
        let cursors = spool.take_positions(&assigned).context("the positions of the sinks cannot be stored")?;
        remove_old_journals(&folder, &assigned);
        let start = |(sink, cursor): (&Sink, &SinkCursor)| {
            let delivered_exclusive = cursor.get().delivered_exclusive;
            progress::SinkStart { delivered_exclusive, is_awaited: sink.when_full == WhenSinkFull::StopTaking }
        };
        let progress = Progress::of_sinks(spool.durable_end(), sinks.iter().zip(&cursors).map(start));
        let is_only = sinks.len() == 1;
        let lakes = sinks.iter().filter(|sink| matches!(sink.settings, SinkSettings::Lake(_))).count();
        let open = |((sink, cursor), assigned): ((Sink, SinkCursor), &AssignedPosition)| OpenSink {
            cursor,
            journal: folder.join(journal_name(&assigned.stored_name)),
            lake_folder: memory_of(config, &sink.name, lakes > 1),
            quota: SinkQuota::of(
                config.spool.quota_bytes,
                config.spool.segment_bytes,
                sink.quota_percent,
                sink.when_full == WhenSinkFull::DropThisSink,
            ),
            state: new_state(&sink.name).0,
            place: if is_only { "" } else { &sink.name }.into(),
            sink,
        };
        let sinks = sinks.into_iter().zip(cursors).zip(&assigned).map(open).collect();
        Ok(Self { progress: Arc::new(progress), sinks })
    }

    /// The sinks as the disk headroom watches them.
    pub(super) fn watched(&self, metrics: &Metrics) -> Vec<WatchedSink> {
        let watch = |(sink, progress): (&OpenSink, &Arc<progress::SinkProgress>)| WatchedSink {
            cursor: sink.cursor.clone(),
            progress: progress.clone(),
            state: sink.state.subscribe(),
            quota: sink.quota,
            metrics: metrics.delivery.of(&sink.sink.name),
        };
        self.sinks.iter().zip(self.progress.sinks()).map(watch).collect()
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.sinks.iter().map(|sink| (&*sink.sink.name).into()).collect()
    }

    /// The sinks that requests wait for.
    pub(super) fn awaited(&self, spool: &Spool) -> Vec<AwaitedSink> {
        let sinks = self.sinks.iter().zip(self.progress.sinks()).filter(|(_, progress)| progress.is_awaited());
        let awaited = sinks.map(|(sink, progress)| AwaitedSink {
            state: sink.state.subscribe(),
            durable_end: spool.watch_durable_end(),
            progress: progress.clone(),
        });
        awaited.collect()
    }

    /// The deliverer of each sink. The progress then knows what was delivered beyond the cursors.
    pub(super) async fn deliverers(self, parts: &SinkParts<'_>) -> anyhow::Result<Vec<Deliverer>> {
        let names: Arc<[Arc<str>]> = self.sinks.iter().map(|sink| sink.place.clone()).filter(|name| !name.is_empty()).collect();
        let mut deliverers = Vec::new();
        for (sink, progress) in self.sinks.into_iter().zip(self.progress.sinks()) {
            let metrics = parts.metrics.delivery.of(&sink.sink.name);
            let shared = Shared {
                spool: parts.spool.clone(),
                cursor: sink.cursor,
                sinks: SinkNames::of(&sink.place, &names),
                place: sink.place,
                window: Some(parts.window.clone()),
                dead_letters: parts.dead_letters.clone(),
                progress: progress.clone(),
                quota_bytes: parts.config.spool.quota_bytes,
                metrics: metrics.clone(),
                state: sink.state,
                traces: parts.traces.clone(),
                conditions: parts.conditions.clone(),
                scopes: parts.scopes.clone(),
            };
            let open = opener(parts.config, sink.sink.settings, sink.lake_folder, sink.journal, parts.rig.cloned()).await?;
            let mode = open(shared.clone())?;
            metrics.recovered_events.set(progress.unsettled(parts.spool.durable_end()) as i64);
            let dropping = sink.quota.drops_oldest.then_some(Dropping { shared, quota: sink.quota, open });
            deliverers.push(Deliverer { mode, dropping });
        }
        Ok(deliverers)
    }
}

/// Where the lake that is the sink `name` stores what it remembers; `has_several`: one of several lakes.
pub(super) fn memory_of(config: &Config, name: &str, has_several: bool) -> PathBuf {
    let folder = config.data_dir.join(FOLDER);
    if has_several { folder.join(name) } else { folder }
}

/// The deliverer of the dead letters to their stream.
pub(super) async fn dead_letter_deliverer(config: &Config, shared: Shared) -> anyhow::Result<Deliverer> {
    let stream = &config.dead_letters.stream;
    let journal = config.data_dir.join(FOLDER).join(DEAD_LETTERS_JOURNAL);
    let lines = |is_keyed| StreamFormat::Lines { is_keyed };
    let mode = match config.dead_letters.kind {
        DeadLettersKind::Firehose => {
            let stream = Arc::new(DeliveryStream::connect(&config.firehose, stream).await);
            stream_mode(shared, stream, lines(false), firehose::settings(&config.firehose), journal)
        }
        DeadLettersKind::Kafka => {
            let stream = connect_kafka(&config.kafka, Arc::new(Topics::one(stream))).await?;
            stream_mode(shared, stream, lines(true), kafka::settings(&config.kafka), journal)
        }
        _ => {
            let stream = Arc::new(KinesisStream::connect(&config.kinesis, stream).await);
            stream_mode(shared, stream, lines(true), kinesis::settings(&config.kinesis, true), journal)
        }
    };
    Ok(Deliverer { mode, dropping: None })
}

/// The state of a sink before it was tried.
pub(super) fn new_state(name: &str) -> (watch::Sender<SinkState>, watch::Receiver<SinkState>) {
    watch::channel(SinkState { name: name.into(), failing: None, oldest_received_millis: None })
}

fn position_of(sink: &Sink) -> SinkPosition {
    SinkPosition { name: sink.name.clone(), start: sink.start }
}

/// Opens the deliverer of a sink, as often as it is needed. Connects to the sink once.
async fn opener(
    config: &Config,
    settings: SinkSettings,
    lake_folder: PathBuf,
    journal: PathBuf,
    rig: Option<Arc<Rig>>,
) -> anyhow::Result<Box<dyn Fn(Shared) -> anyhow::Result<Mode> + Send + Sync>> {
    Ok(match settings {
        SinkSettings::Lake(lake) => {
            let location = location_of(&lake, config);
            Box::new(move |shared| {
                let sink: Box<dyn crate::sink::Sink> = Box::new(LakeSink::open_with_memory(&location, &lake_folder)?);
                let sink = match &rig {
                    Some(rig) => Box::new(SwitchedSink { sink, faults: rig.faults.clone() }),
                    None => sink,
                };
                Ok(Mode::Batches(Box::new(BatchDeliverer::open(shared, sink, bounds_of(&lake), journal.clone()))))
            })
        }
        SinkSettings::Kinesis(config) => {
            let form = StreamFormat::Events(EventFormat::new(config.format, &config.partition_key));
            let settings = kinesis::settings(&config, form.key_is_identity());
            let stream = Arc::new(KinesisStream::connect(&config, &config.stream).await);
            Box::new(move |shared| Ok(stream_mode(shared, stream.clone(), form.clone(), settings.clone(), journal.clone())))
        }
        SinkSettings::Firehose(config) => {
            let form = StreamFormat::Events(EventFormat::without_key(config.format));
            let settings = firehose::settings(&config);
            let stream = Arc::new(DeliveryStream::connect(&config, &config.stream).await);
            Box::new(move |shared| Ok(stream_mode(shared, stream.clone(), form.clone(), settings.clone(), journal.clone())))
        }
        SinkSettings::Kafka(config) => {
            let topics = Arc::new(Topics::new(&config));
            let form = EventFormat::new(config.format, &config.partition_key).in_topics(topics.clone());
            let (form, settings) = (StreamFormat::Events(form), kafka::settings(&config));
            let stream = connect_kafka(&config, topics).await?;
            Box::new(move |shared| Ok(stream_mode(shared, stream.clone(), form.clone(), settings.clone(), journal.clone())))
        }
    })
}

#[cfg(feature = "kafka")]
async fn connect_kafka(config: &KafkaConfig, topics: Arc<Topics>) -> anyhow::Result<Arc<dyn Stream>> {
    Ok(Arc::new(KafkaStream::connect(config, topics).await?))
}

/// The configuration is refused before.
#[cfg(not(feature = "kafka"))]
async fn connect_kafka(_: &KafkaConfig, _: Arc<Topics>) -> anyhow::Result<Arc<dyn Stream>> {
    anyhow::bail!("this build has no Kafka: build it with `--features kafka`")
}

fn bounds_of(lake: &LakeConfig) -> BatchBounds {
    BatchBounds {
        records_max: LAKE_BATCH_RECORDS_MAX,
        bytes_max: lake.batch_bytes_max,
        age_max: Duration::from_millis(lake.flush_age_ms),
    }
}

fn stream_mode(shared: Shared, stream: Arc<dyn Stream>, form: StreamFormat, settings: StreamSettings, journal: PathBuf) -> Mode {
    Mode::Stream(Box::new(StreamDeliverer::open(shared, stream, form, settings, journal)))
}

/// Name of the journal of the sink with this name in the cursor's file, where the only sink has none. A journal is of any kind
/// of sink: a change of the kind delivers nothing again.
fn journal_name(stored_name: &str) -> String {
    if stored_name.is_empty() { "events.journal".into() } else { format!("events-{stored_name}.journal") }
}

/// Gives each sink that continues under another name a copy of the journal, before its position is stored under that name.
fn take_over_journals(folder: &Path, assigned: &[AssignedPosition]) -> io::Result<()> {
    for AssignedPosition { stored_name, continues, .. } in assigned {
        let Some(before) = continues else { continue };
        match fs::read(folder.join(journal_name(before))) {
            Ok(journal) => durable::replace_file(&folder.join(journal_name(stored_name)), &journal)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the journals of sinks that are gone, so that a later sink of the same name begins without one.
fn remove_old_journals(folder: &Path, assigned: &[AssignedPosition]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let is_journal = name.starts_with("events") && name.ends_with(".journal");
        let is_used = assigned.iter().any(|one| journal_name(&one.stored_name) == name);
        if is_journal
            && !is_used
            && let Err(error) = fs::remove_file(folder.join(&name))
        {
            tracing::warn!(name, %error, "the journal of a sink that is gone cannot be removed");
        }
    }
}
