//! What each stage of an event's way costs, beside `serde_json::Value` of the same events in the same run, and whether it
//! costs more than it may: `make micro`.
//!
//! Ratios carry over from machine to machine, seconds do not. The bounds are some 40 % above what was measured, so that
//! they fail for a stage that has become slower, and not for a neighbour on the machine.

#![allow(clippy::print_stdout, reason = "the verdict is for whoever runs it")]

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use lakegate::{
    conditions::Conditions,
    config::Aggregation,
    decode::{BodyForm, for_each_element, read_fields},
    dedup::{Identity, Window, WindowConfig},
    enrich::write_flat,
    event::{Envelope, EventName, Record, unix_millis},
    limits::SPOOL_UNREADABLE_PATIENCE,
    schema::{Registry, Resolution},
    sink::{
        kinesis::{hash_key, put_records_body},
        stream::{Entry, Packing, StreamRecord},
    },
    spool::{FrameBuffer, RealDisk, Spool, SpoolConfig},
};
use lakegate_bench::{
    events::{Event, Shapes},
    registry,
};
use uuid::Uuid;

/// Events of one measurement: a body of the services' usual size.
const EVENTS: usize = 100;

/// The yardstick.
const REFERENCE: &str = "serde_json";

/// Each stage, and the most that it may cost, as a ratio to [`REFERENCE`].
const BOUNDS: [(&str, f64); 7] = [
    ("decode", 0.35),
    ("validate", 0.45),
    ("validate_by_the_library", 2.2),
    ("enrich", 0.10),
    ("dedup", 0.15),
    // The disk's time for one fsync of a hundred events is in it.
    ("spool", 5.0),
    ("encode", 0.10),
];

fn main() -> anyhow::Result<ExitCode> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let results = target.join("stages");
    let mut criterion = Criterion::default()
        .output_directory(&results)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let folder = tempfile::tempdir_in(&target)?;
    let schemas = folder.path().join("schemas");
    registry::write(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas")), &schemas, registry::TYPES)?;
    let shapes = Shapes::of_registry(&schemas)?;
    let events: Vec<Event> = (0..EVENTS).map(|_| shapes.random()).collect();
    let work = Work { registry: lakegate::schema::load(&schemas)?, body: body(&events), events };
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function(REFERENCE, |bencher| bencher.iter(|| serde_json::from_slice::<serde_json::Value>(&work.body)));
    group.bench_function("decode", |bencher| bencher.iter(|| work.decode()));
    // Both with a decode before, which is taken off again.
    group.bench_function("decode_and_validate", |bencher| bencher.iter(|| work.validate(false)));
    group.bench_function("decode_and_validate_by_the_library", |bencher| bencher.iter(|| work.validate(true)));
    let records = work.records();
    group.bench_function("enrich", |bencher| bencher.iter(|| enrich(&records)));
    let window = Window::open(WindowConfig::new(folder.path().join("dedup")), now())?.0;
    let mut mark = 0;
    group.bench_function("dedup", |bencher| {
        let identities = || (0..EVENTS).map(|_| Identity { id: Uuid::now_v7(), fingerprint: 1 }).collect::<Vec<_>>();
        bencher.iter_batched(identities, |identities| claim(&window, &identities, &mut mark), BatchSize::SmallInput);
    });
    let spool = Spool::open(Arc::new(RealDisk), spool_config(folder.path()))?.0;
    group.bench_function("spool", |bencher| bencher.iter(|| append(&spool, &records)));
    let call = call(&records);
    group.bench_function("encode", |bencher| bencher.iter(|| put_records_body("events", &call)));
    group.finish();
    criterion.final_summary();
    judge(&results.join("stages"))
}

/// What the stages work on.
struct Work {
    registry: Registry,
    events: Vec<Event>,
    body: Vec<u8>,
}

fn body(events: &[Event]) -> Vec<u8> {
    let events: Vec<&[u8]> = events.iter().map(|event| event.bytes.as_slice()).collect();
    [b"[".as_slice(), &events.join(&b','), b"]"].concat()
}

impl Work {
    fn decode(&self) {
        let count = for_each_element(&self.body, BodyForm::Json, |element| {
            black_box(element.event.map(|event| read_fields(&event)).is_ok());
        });
        assert_eq!(count.ok(), Some(EVENTS));
    }

    fn validate(&self, by_the_library: bool) {
        let mut valid = 0;
        let count = for_each_element(&self.body, BodyForm::Json, |element| {
            let Ok(event) = element.event else { return };
            let Ok(fields) = read_fields(&event) else { return };
            let Resolution::Known(schema) = self.registry.resolve(&fields.event_name, fields.schema_version) else { return };
            let is_valid = if by_the_library { schema.is_valid_as_written(event) } else { schema.validate(event).is_ok() };
            valid += usize::from(is_valid);
        });
        assert_eq!((count.ok(), valid), (Some(EVENTS), EVENTS));
    }

    /// As they lie in the spool.
    fn records(&self) -> Vec<Record> {
        let records = self.events.iter().map(|event| {
            let mut record = Vec::new();
            for_each_element(&event.bytes, BodyForm::Json, |element| {
                let fields = element.event.and_then(|event| read_fields(&event)).expect("made to be valid");
                let envelope = Envelope {
                    event_uuid: fields.event_uuid,
                    event_name: EventName::parse(&fields.event_name).expect("made to be valid"),
                    schema_version: Some(1),
                    created_at: fields.created_at,
                    received_millis: now(),
                    source: "bench",
                    client_address: None,
                    has_reserved_fields: false,
                    names_its_version: fields.schema_version.is_some(),
                    dedup_unchecked: false,
                    replayed: false,
                    is_scoped: false,
                    is_late: false,
                };
                envelope.encode(element.raw, &mut record);
            })
            .expect("made to be valid");
            Record::decode(Bytes::from(record)).expect("just encoded")
        });
        records.collect()
    }
}

fn enrich(records: &[Record]) -> Vec<u8> {
    let mut line = Vec::new();
    for record in records {
        line.clear();
        write_flat(&record.envelope(), record.payload(), &mut line);
    }
    line
}

fn claim(window: &Window, identities: &[Identity], mark: &mut u64) {
    let claims = window.claim(identities, now()).expect("the window seals faster than this");
    assert_eq!(claims.fresh_len(), EVENTS);
    claims.confirm(*mark);
    *mark += EVENTS as u64;
}

/// One append with its fsync.
fn append(spool: &Spool, records: &[Record]) {
    let mut frames = FrameBuffer::default();
    for record in records {
        frames.push(|buffer| record.envelope().encode(record.payload(), buffer)).expect("smaller than a frame");
    }
    let (done, appended) = mpsc::sync_channel(1);
    spool.append(frames, move |result| done.send(result).unwrap_or_default());
    let appended = appended.recv().expect("it is answered").expect("there is room");
    // Now and then, so that the disk does not fill: the cursor is not what is measured.
    if appended.first_seq % (1 << 20) < EVENTS as u64 {
        spool.first_sink().commit(appended.end_seq_exclusive).expect("a cursor");
        spool.unlink_delivered().expect("old segments");
    }
}

fn spool_config(folder: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: folder.join("spool"),
        segment_bytes: 64 << 20,
        quota_bytes: 1 << 30,
        free_bytes_min: 0,
        queue_bytes_max: 64 << 20,
        unreadable: SPOOL_UNREADABLE_PATIENCE,
        conditions: Conditions::default(),
    }
}

fn call(records: &[Record]) -> Vec<StreamRecord> {
    let packing = Packing { aggregation: Aggregation::None, bytes_max: 0, events_max: 1, shares_key: false };
    let record = |(seq, record): (usize, &Record)| {
        let key: Box<str> = record.event_uuid().to_string().into();
        let mut data = Vec::new();
        write_flat(&record.envelope(), record.payload(), &mut data);
        let entry =
            Entry { seq: seq as u64, place: hash_key(&key), key, data: data.into(), headers_bytes: 0, is_maybe_sent: false };
        packing.record(vec![entry])
    };
    records.iter().enumerate().map(record).collect()
}

fn now() -> i64 {
    unix_millis(SystemTime::now())
}

/// Reads what criterion found, and holds it against [`BOUNDS`].
fn judge(results: &Path) -> anyhow::Result<ExitCode> {
    let median = |name: &str| -> anyhow::Result<f64> {
        let estimates = fs::read(results.join(name).join("new/estimates.json"))?;
        let estimates: serde_json::Value = serde_json::from_slice(&estimates)?;
        estimates["median"]["point_estimate"].as_f64().ok_or_else(|| anyhow::anyhow!("{name} has no median"))
    };
    let (reference, decode) = (median(REFERENCE)?, median("decode")?);
    println!("| stage | µs per event | × {REFERENCE} | at most |\n|---|---|---|---|");
    println!("| {REFERENCE} | {:.2} | – | – |", reference / EVENTS as f64 / 1e3);
    let mut is_met = true;
    for (stage, bound) in BOUNDS {
        let nanos = if stage.starts_with("validate") { median(&format!("decode_and_{stage}"))? - decode } else { median(stage)? };
        let ratio = nanos / reference;
        is_met &= ratio <= bound;
        let verdict = if ratio <= bound { "" } else { " **missed**" };
        println!("| {stage} | {:.2} | {ratio:.2}{verdict} | {bound:.2} |", nanos / EVENTS as f64 / 1e3);
    }
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
