//! What is fuzzed: everything that reads bytes which somebody else chose. Each function takes any bytes, and panics where a
//! promise is broken. The targets give them to libFuzzer, `tests/it/fuzz.rs` to a plain test.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, OnceLock, mpsc},
};

use bytes::Bytes;
use lakegate::{
    conditions::Conditions,
    config::Aggregation,
    decode::{BodyForm, Encoding, Growth, for_each_element, inflate, read_fields, uuid_text},
    enrich::{write_envelope, write_flat},
    event::{Envelope, EventName, RESERVED_FIELDS, Record},
    limits::{EVENTS_PER_REQUEST_MAX, INFLATED_BYTES_MAX, SPOOL_UNREADABLE_PATIENCE},
    outcome::RejectCode,
    sink::stream::{Entry, Packing, RecordBuilder, StreamRecord},
    spool::{FrameBuffer, RealDisk, Spool, SpoolConfig},
};
use md5::{Digest, Md5};
use prost::Message;
use serde_json::value::RawValue;

/// A target: its name, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 4] =
    [("decode", decode), ("enrich", enrich), ("recovery", recovery), ("aggregate", aggregate)];

/// A body in any encoding and form: never a panic, never beyond the limits, and never JSON that serde_json takes otherwise.
pub(crate) fn decode(data: &[u8]) {
    let [choice, body @ ..] = data else { return };
    let encodings = ["identity", "gzip", "deflate", "br", "zstd"];
    let encoding = Encoding::from_header(encodings[usize::from(choice % 5)]).expect("one of ours").of_body(body);
    let growth = Growth { ratio_max: 16, is_light_only: false, memory: &mut |_| true };
    let Ok(body) = inflate(encoding, &Bytes::copy_from_slice(body), growth) else { return };
    assert!(body.len() <= INFLATED_BYTES_MAX);
    let form = [BodyForm::Any, BodyForm::Json, BodyForm::Ndjson][usize::from(choice / 5 % 3)];
    let mut seen = 0;
    let count = for_each_element(&body, form, |element| {
        seen += 1;
        let place = element.raw.as_ptr() as usize - body.as_ptr() as usize;
        assert!(place + element.raw.len() <= body.len(), "an element is a part of the body");
        let is_json = std::str::from_utf8(element.raw).is_ok_and(|raw| serde_json::from_str::<&RawValue>(raw).is_ok());
        match element.event {
            Ok(event) => {
                assert!(is_json, "{:?} is no JSON", String::from_utf8_lossy(element.raw));
                let _ = (read_fields(&event), uuid_text(&event));
            }
            Err(rejection) => assert!(
                rejection.code != RejectCode::InvalidJson || !is_json,
                "{:?} is JSON: {rejection:?}",
                String::from_utf8_lossy(element.raw)
            ),
        }
    });
    match count {
        Ok(count) => assert!(count == seen && (1..=EVENTS_PER_REQUEST_MAX).contains(&count)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An event, or members of one: what leaves the gateway is one line of JSON, in which the client's members stand as they came.
pub(crate) fn enrich(data: &[u8]) {
    let [choice, payload @ ..] = data else { return };
    enrich_event(payload, choice & 1 == 1);
    let head = br#"{"event_uuid":"01a1f4f7-32ac-7e07-ad70-d39f77ca4499","event_name":"a:b","created_at":1.5,"#;
    enrich_event(&[head, payload, b"}"].concat(), choice & 1 == 1);
}

fn enrich_event(body: &[u8], dedup_unchecked: bool) {
    let _ = for_each_element(body, BodyForm::Json, |element| {
        let Ok(event) = element.event else { return };
        let Ok(fields) = read_fields(&event) else { return };
        let envelope = Envelope {
            event_uuid: fields.event_uuid,
            event_name: EventName::parse(&fields.event_name).expect("it was read"),
            schema_version: fields.schema_version.or(Some(3)),
            created_at: fields.created_at,
            received_millis: 1_795_111_203_500,
            source: "web",
            client_address: None,
            has_reserved_fields: fields.has_reserved_fields,
            names_its_version: fields.schema_version.is_some(),
            dedup_unchecked,
            replayed: false,
            is_scoped: false,
            is_late: false,
        };
        let mut encoded = Vec::new();
        envelope.encode(element.raw, &mut encoded);
        let record = Record::decode(encoded.into()).expect("what was encoded");
        assert_eq!(record.payload(), element.raw);
        assert_eq!(record.event_uuid(), fields.event_uuid);
        let envelope = record.envelope();

        let mut flat = Vec::new();
        write_flat(&envelope, record.payload(), &mut flat);
        assert!(!flat.contains(&b'\n') && !flat.contains(&b'\r'), "one line");
        let written = members(&flat);
        for (name, value) in members(element.raw) {
            let is_replaced = RESERVED_FIELDS.contains(&&*name)
                || dedup_unchecked && name == "dedup"
                || envelope.is_late && name == "created_date";
            if !is_replaced {
                assert_eq!(written[&name].get(), value.get().replace(['\r', '\n'], " "), "{name}");
            }
        }
        assert_eq!(written["source"].get(), "\"web\"");
        assert_eq!(written["event_type"].get(), format!("{:?}", envelope.event_name.event_type()));

        let mut line = Vec::new();
        write_envelope(&envelope, record.payload(), &mut line);
        let payload: String = serde_json::from_str(members(&line)["payload"].get()).expect("a string");
        assert_eq!(payload.as_bytes(), element.raw);
    });
}

/// The members of an object.
fn members(json: &[u8]) -> BTreeMap<String, &RawValue> {
    serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

/// Frames that the spool of [`recovery`] holds.
const FRAMES: u64 = 5;
const SPOOL: &str = "spool";

fn frame_body(seq: u64) -> Vec<u8> {
    vec![b'a' + seq as u8; 20 + 30 * seq as usize]
}

fn spool_config(folder: &Path) -> SpoolConfig {
    let dir = folder.join(SPOOL);
    SpoolConfig {
        dir,
        segment_bytes: 200,
        quota_bytes: 1 << 20,
        free_bytes_min: 0,
        queue_bytes_max: 1 << 20,
        unreadable: SPOOL_UNREADABLE_PATIENCE,
        conditions: Conditions::default(),
    }
}

fn append(spool: &Spool, bodies: impl Iterator<Item = Vec<u8>>) {
    let mut frames = FrameBuffer::default();
    bodies.for_each(|body| frames.push(|buffer| buffer.extend_from_slice(&body)).expect("a short one"));
    let (done, appended) = mpsc::channel();
    spool.append(frames, move |result| {
        let _ = done.send(result);
    });
    appended.recv().expect("an answer").expect("there is room");
}

/// The files of a whole spool of several segments.
fn whole_spool() -> &'static Vec<(String, Vec<u8>)> {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = scratch();
        let (spool, _) = Spool::open(Arc::new(RealDisk), spool_config(folder.path())).expect("a new folder");
        (0..FRAMES).for_each(|seq| append(&spool, std::iter::once(frame_body(seq))));
        spool.first_sink().commit(1).expect("the cursor moves");
        drop(spool);
        let mut files: Vec<_> = fs::read_dir(folder.path().join(SPOOL))
            .expect("the spool's folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).expect("a file")))
            .collect();
        files.sort();
        assert!(files.len() >= 4, "several segments, and what is beside them: {files:?}");
        files
    })
}

/// In memory where the system has such a file system: thousands of spools are opened.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// A spool that was damaged in any way: it opens, says what is lost, gives no frame that was not written, and goes on.
///
/// The input is a list of damages, five bytes each: which file, where (two bytes), what, and with which byte.
pub(crate) fn recovery(data: &[u8]) {
    let folder = scratch();
    let mut files = whole_spool().clone();
    let mut is_forged = false;
    for damage in data.chunks_exact(5).take(16) {
        let [file, high, low, what, byte] = *damage else { unreachable!("five") };
        let count = files.len();
        let content = &mut files[usize::from(file) % count].1;
        let at = usize::from(u16::from_be_bytes([high, low])) % (content.len() + 1);
        match what % 5 {
            0 if at < content.len() => content[at] ^= byte,
            1 => content.truncate(at),
            2 => drop(content.splice(at..at, [byte; 7])),
            3 => {
                // What stood there again: frames out of place, with checksums that are right.
                let copied = content[..at].to_vec();
                content.extend_from_slice(&copied);
                is_forged = true;
            }
            _ => content.clear(),
        }
    }
    let spool = folder.path().join(SPOOL);
    fs::create_dir(&spool).expect("a new folder");
    for (name, content) in &files {
        fs::write(spool.join(name), content).expect("a file");
    }
    let (spool, _) = match Spool::open(Arc::new(RealDisk), spool_config(folder.path())) {
        Ok(opened) => opened,
        // What the gateway says where it cannot know whose the segments are.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let end = spool.durable_end();
    append(&spool, std::iter::once(b"after".to_vec()));
    let mut reader = spool.reader(0);
    let mut last = None;
    let mut is_after_there = false;
    loop {
        let stretch = reader.read(100, usize::MAX).expect("the disk is well");
        if stretch.frames.is_empty() && stretch.lost.is_empty() {
            break;
        }
        for frame in stretch.frames {
            assert!(last.is_none_or(|last| frame.seq > last), "in order, and once");
            last = Some(frame.seq);
            if frame.seq == end {
                assert_eq!(&frame.body[..], b"after");
                is_after_there = true;
            } else {
                assert!(is_forged || frame.body[..] == frame_body(frame.seq), "frame {} was never written", frame.seq);
            }
        }
    }
    assert!(is_after_there, "what is appended after the damage is read back");
}

/// A record as the KPL describes it, read by a protobuf library.
#[derive(Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    places: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<UserRecord>,
}

#[derive(Message)]
struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    key: u64,
    #[prost(uint64, optional, tag = "2")]
    place: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// Events of any bytes, packed in any way: no record is larger than it may be, and each event comes back from exactly one.
pub(crate) fn aggregate(data: &[u8]) {
    let [choice, limit, rest @ ..] = data else { return };
    let aggregation = [Aggregation::Kpl, Aggregation::Ndjson, Aggregation::None][usize::from(choice % 3)];
    let bytes_max = 64 + 16 * usize::from(*limit);
    let packing = Packing { aggregation, bytes_max, events_max: 500, shares_key: choice & 128 != 0 };
    let mut events = Vec::new();
    let mut rest = rest;
    while let [key, length, more @ ..] = rest {
        let (content, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        // A line holds no line end; everything else may.
        let content = content.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte });
        let entry = Entry {
            seq: events.len() as u64,
            key: "k".repeat(1 + usize::from(*key)).into(),
            place: u128::MAX / (1 + u128::from(*key)),
            data: content.chain(*b"\n").collect(),
            headers_bytes: 0,
            is_maybe_sent: false,
        };
        events.push(entry);
    }
    let mut records: Vec<StreamRecord> = Vec::new();
    let mut builder: Option<RecordBuilder> = None;
    for event in events.clone() {
        match &mut builder {
            Some(open) if open.has_room_for(&event) => open.push(event),
            _ => records.extend(builder.replace(RecordBuilder::new(packing, event)).map(RecordBuilder::finish)),
        }
    }
    records.extend(builder.map(RecordBuilder::finish));
    let mut found = Vec::new();
    for record in &records {
        assert!(record.entries.len() == 1 || record.size() <= bytes_max, "{} of {bytes_max} bytes", record.size());
        assert!(aggregation != Aggregation::None || record.entries.len() == 1);
        found.extend(unpack(record, aggregation));
    }
    let sent: Vec<Bytes> = events.into_iter().map(|event| Bytes::from(event.data)).collect();
    assert_eq!(found, sent);
}

fn unpack(record: &StreamRecord, aggregation: Aggregation) -> Vec<Bytes> {
    let data = Bytes::copy_from_slice(record.data());
    if record.entries.len() == 1 {
        return vec![data];
    }
    if aggregation == Aggregation::Ndjson {
        return data.split_inclusive(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect();
    }
    let message = data.strip_prefix(&[0xF3, 0x89, 0x9A, 0xC2]).expect("the KPL's magic number");
    let (message, digest) = message.split_at(message.len() - 16);
    assert_eq!(Md5::digest(message)[..], *digest);
    let aggregated = AggregatedRecord::decode(message).expect("protobuf");
    assert_eq!(aggregated.places.len(), 1, "one place for all");
    let explicit = record.explicit_place.expect("a packed record has one").to_string();
    assert_eq!(aggregated.places[0], explicit);
    let unpacked = |user: UserRecord| {
        assert!(user.place == Some(0) && (user.key as usize) < aggregated.keys.len());
        user.data.into()
    };
    aggregated.records.into_iter().map(unpacked).collect()
}
