//! Writes events into a lake as the gateway does, and says what that took.
//!
//! `cargo run --release --example lake_write -- FOLDER [EVENTS [TYPES]]`: 1,000,000 events of about 400 bytes, of 100
//! types, in batches of 100,000, unless told otherwise.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::time::{Duration, Instant};

use lakegate::{
    event::{CreatedAt, Envelope, EventName, Record},
    sink::{
        Batch, Delivery, Sink,
        lake::{Filters, Lake, LakeConfig, LakeSink},
    },
};
use uuid::Uuid;

const BATCH_EVENTS: u64 = 100_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("a folder for the lake is expected")?;
    let events: u64 = arguments.next().map_or(Ok(1_000_000), |number| number.parse())?;
    let types: u64 = arguments.next().map_or(Ok(100), |number| number.parse())?;

    let sink = LakeSink::open(&LakeConfig::at(&folder))?;
    let (mut elapsed, mut cpu, mut payload_bytes, mut last) = (Duration::ZERO, Duration::ZERO, 0, Uuid::nil());
    for first in (0..events).step_by(BATCH_EVENTS as usize) {
        let end = events.min(first + BATCH_EVENTS);
        let records: Vec<Record> = (first..end).map(|number| record(number, types)).collect();
        payload_bytes += records.iter().map(|record| record.payload().len()).sum::<usize>();
        last = records.last().map_or(last, Record::event_uuid);
        let batch = Batch { spool_id: Uuid::nil(), first_seq_inclusive: first, end_seq_exclusive: end, records };
        let (began, cpu_before) = (Instant::now(), cpu_time()?);
        let deliveries = sink.deliver(&batch).await;
        elapsed += began.elapsed();
        cpu += cpu_time()? - cpu_before;
        if let Some(odd) = deliveries.iter().find(|delivery| **delivery != Delivery::Delivered) {
            return Err(format!("{odd:?}").into());
        }
    }
    println!("wrote {events} events of {} bytes in {elapsed:.2?}, {cpu:.2?} of CPU", payload_bytes as u64 / events.max(1));

    tokio::task::spawn_blocking(move || -> Result<(), String> {
        let lake = Lake::open(&folder).map_err(|error| error.to_string())?;
        let began = Instant::now();
        let listing = lake.ls(&Filters::default()).map_err(|error| error.to_string())?;
        let sum = |of: fn(&lakegate::sink::lake::PartitionSummary) -> u64| listing.partitions.iter().map(of).sum::<u64>();
        println!("ls: {} rows, {} files, {} bytes, {:.2?}", sum(|p| p.rows), sum(|p| p.files), sum(|p| p.bytes), began.elapsed());
        let began = Instant::now();
        let mut found = 0;
        let left_out = lake.find(last, &Filters::default(), &mut |_, _| {
            found += 1;
            Ok(())
        });
        println!("find: {found} row, {:?} left out, {:.2?}", left_out.map_err(|error| error.to_string())?.len(), began.elapsed());
        let began = Instant::now();
        let counts = lake.count(&Filters::default(), true).map_err(|error| error.to_string())?;
        println!("count by name: {} names, {:.2?}", counts.counts.len(), began.elapsed());
        for distinct in [false, true] {
            let began = Instant::now();
            let mut bytes = 0;
            let export = lake.export(&Filters::default(), distinct, &mut |row| {
                bytes += row.payload.len();
                Ok(())
            });
            let rows = export.map_err(|error| error.to_string())?.rows;
            println!("export, distinct {distinct}: {rows} rows, {bytes} bytes, {:.2?}", began.elapsed());
        }
        Ok(())
    })
    .await??;
    Ok(())
}

/// An event of about 400 bytes with the entropy of a real one: a random identity and session, a few words, some numbers.
fn record(number: u64, types: u64) -> Record {
    let (a, b, c) = (scrambled(number), scrambled(number ^ 0x5555_5555_5555), scrambled(number / 20));
    let event_uuid = uuid::Builder::from_random_bytes((u128::from(a) << 64 | u128::from(b)).to_be_bytes()).into_uuid();
    let name = format!("type{:02}:item:{}", a % types, ["viewed", "clicked", "closed", "shared"][(b % 4) as usize]);
    let millis = 1_763_683_200_000 + number as i64 * 3;
    let payload = format!(
        r#"{{"event_uuid":"{event_uuid}","event_name":"{name}","created_at":{}.{:03},"schema_version":2,"session_id":"{c:016x}{b:016x}","restaurant_id":{},"item":{{"id":{},"name":"{}","price":{}.{:02}}},"language":"{}","viewport":{{"width":{},"height":{}}},"url":"https://menu.example.com/r/{}/t/{}","duration_ms":{}}}"#,
        millis / 1000,
        millis % 1000,
        c % 5000,
        a % 300_000,
        ["Margherita", "Pad Thai", "Tiramisù", "Bún chả", "Ramen"][(c % 5) as usize],
        b % 60,
        a % 100,
        ["de", "en", "fr", "ja"][(c % 4) as usize],
        320 + (c % 40) * 40,
        568 + (c % 30) * 30,
        c % 5000,
        c % 40,
        a % 100_000,
    );
    let envelope = Envelope {
        event_uuid,
        event_name: EventName::parse(&name).unwrap_or_else(|error| panic!("{name}: {error}")),
        schema_version: Some(2),
        created_at: CreatedAt { seconds: millis as f64 / 1e3, millis },
        received_millis: millis + 200 + (a % 900) as i64,
        source: "web",
        client_address: None,
        has_reserved_fields: false,
        names_its_version: false,
        dedup_unchecked: false,
        replayed: false,
        is_scoped: false,
        is_late: false,
    };
    let mut buffer = Vec::new();
    envelope.encode(payload.as_bytes(), &mut buffer);
    Record::decode(buffer.into()).unwrap_or_else(|error| panic!("{error}"))
}

/// SplitMix64: random enough that nothing compresses which would not in life, and the same in every run.
fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// CPU time of the process, user and system: fields 14 and 15 of Linux's `stat`, in hundredths of a second.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
