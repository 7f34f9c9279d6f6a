//! Writes a lake of past days fast, by the gateway's own sink: what a gateway would write in a month.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use lakegate::{
    event::{CreatedAt, Envelope, EventName, Record, unix_millis},
    sink::{
        Batch, Delivery, Sink,
        lake::{LakeConfig, LakeSink},
    },
};
use uuid::Uuid;

use crate::say;

const DAY_MILLIS: i64 = 86_400_000;

/// What the lake is to hold.
#[derive(Debug, Args)]
pub(super) struct LakeArgs {
    /// Folder of the lake, which must not exist.
    folder: PathBuf,
    /// Events in all.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Days before today, and today.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Event types, all in every flush.
    #[arg(long, default_value_t = 100)]
    types: u64,
    /// Flushes a day; each writes a file per type, and commits once.
    #[arg(long, default_value_t = 48)]
    flushes_per_day: u64,
}

/// Writes the lake, and says what a flush took at the beginning and at the end.
pub(super) fn run(args: &LakeArgs) -> anyhow::Result<()> {
    if args.folder.exists() {
        bail!("{} exists", args.folder.display());
    }
    let sink = LakeSink::open(&LakeConfig::at(args.folder.display().to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let flushes = args.days * args.flushes_per_day;
    let first_millis = (unix_millis(SystemTime::now()) / DAY_MILLIS - args.days as i64 + 1) * DAY_MILLIS;
    let names: Vec<String> = (0..args.types).map(|kind| format!("type{kind:02}:item:seen")).collect();
    let mut took = Vec::new();
    let mut written = 0;
    for flush in 0..flushes {
        let until = args.events * (flush + 1) / flushes;
        let start_millis = first_millis + (flush * DAY_MILLIS as u64 / args.flushes_per_day) as i64;
        let records = (written..until).map(|number| event(number, &names, start_millis)).collect::<anyhow::Result<Vec<_>>>()?;
        let batch = Batch { spool_id: Uuid::from_u128(1), first_seq_inclusive: written, end_seq_exclusive: until, records };
        let started = Instant::now();
        let deliveries = runtime.block_on(sink.deliver(&batch));
        took.push(started.elapsed());
        if let Some(failed) = deliveries.iter().find(|delivery| **delivery != Delivery::Delivered) {
            bail!("flush {flush}: {failed:?}");
        }
        written = until;
    }
    let part = took.len().min(50);
    say(format_args!(
        "{written} events in {flushes} flushes; a flush took {:.1} ms at the beginning and {:.1} ms at the end",
        median(&took[..part]),
        median(&took[took.len() - part..])
    ));
    Ok(())
}

/// One event: some menu's item, by one of 1,000 sessions.
fn event(number: u64, names: &[String], start_millis: i64) -> anyhow::Result<Record> {
    let name = &names[(number % names.len() as u64) as usize];
    let millis = start_millis + (number / names.len() as u64 % 60_000) as i64;
    let envelope = Envelope {
        event_uuid: Uuid::from_u64_pair(fastrand::u64(..), number),
        event_name: EventName::parse(name)?,
        schema_version: Some(1),
        created_at: CreatedAt { seconds: millis as f64 / 1e3, millis },
        received_millis: millis + 250,
        source: "load",
        client_address: None,
        has_reserved_fields: false,
        names_its_version: false,
        dedup_unchecked: false,
        replayed: false,
        is_scoped: false,
        is_late: false,
    };
    let payload = format!(
        r#"{{"event_uuid":"{}","event_name":"{name}","created_at":{:.3},"session_id":"s-{:06}","dish":"dish-{:03}","price_minor":{},"position":{},"language":"pt","dwell_ms":{},"page":"/menu/starters","note":"{:032x}"}}"#,
        envelope.event_uuid,
        envelope.created_at.seconds,
        fastrand::u32(..1_000),
        fastrand::u32(..300),
        fastrand::u32(300..9_000),
        fastrand::u32(..40),
        fastrand::u32(..60_000),
        fastrand::u128(..),
    );
    let mut bytes = Vec::new();
    envelope.encode(payload.as_bytes(), &mut bytes);
    Record::decode(Bytes::from(bytes)).ok().context("an event of its own making cannot be read")
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
