//! Tests of the whole spool: damage, limits, start and stop. The simulator tests crashes.

mod decay;
mod life;
mod room;
mod start;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{
    AppendError, Appended, Frame, FrameBuffer, ReadBatch, RecoveryReport, Spool, SpoolConfig,
    fault_disk::FaultDisk,
    folder::Folder,
    frame::FRAME_HEADER_BYTES,
    segment::{SEGMENT_HEADER_BYTES, parse_segment_name, segment_path},
};
use crate::{conditions::Conditions, fault::Patience};

/// No retry time at all.
const AT_ONCE: Patience = Patience { first: Duration::ZERO, longest: Duration::from_secs(1), budget: Duration::ZERO };

fn dir() -> PathBuf {
    PathBuf::from("/spool")
}

fn config() -> SpoolConfig {
    SpoolConfig {
        dir: dir(),
        segment_bytes: 300,
        quota_bytes: 1 << 30,
        free_bytes_min: 0,
        queue_bytes_max: 1 << 20,
        unreadable: AT_ONCE,
        conditions: Conditions::default(),
    }
}

fn open(disk: &FaultDisk) -> (Spool, RecoveryReport) {
    Spool::open(Arc::new(disk.clone()), config()).unwrap()
}

fn frames_of(bodies: &[Vec<u8>]) -> FrameBuffer {
    let mut frames = FrameBuffer::default();
    for body in bodies {
        frames.push(|buffer| buffer.extend_from_slice(body)).unwrap();
    }
    frames
}

/// Appends and waits for the answer.
fn append(spool: &Spool, bodies: &[Vec<u8>]) -> Result<Appended, AppendError> {
    let (answer, answers) = mpsc::channel();
    spool.append(frames_of(bodies), move |outcome| answer.send(outcome).unwrap());
    answers.recv().unwrap()
}

/// The body that tests give to the frame with `seq`.
fn body(seq: u64) -> Vec<u8> {
    format!("body {seq} {}", "x".repeat(seq as usize * 5 % 23)).into_bytes()
}

/// A spool with frames `0..frames`, in groups of one, over several segments.
fn filled(frames: u64) -> FaultDisk {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    for seq in 0..frames {
        assert_eq!(append(&spool, &[body(seq)]), Ok(Appended { first_seq: seq, end_seq_exclusive: seq + 1 }));
    }
    drop(spool);
    disk
}

fn read_from(spool: &Spool, seq: u64) -> ReadBatch {
    let mut reader = spool.reader(seq);
    let mut all = ReadBatch::default();
    loop {
        let batch = reader.read(3, 100).unwrap();
        if batch == ReadBatch::default() {
            return all;
        }
        all.frames.extend(batch.frames);
        all.lost.extend(batch.lost);
    }
}

/// Checks that the frames are those of `seqs`, whole.
#[track_caller]
fn assert_frames(frames: &[Frame], seqs: impl Iterator<Item = u64>) {
    let expected: Vec<_> = seqs.map(|seq| Frame { seq, body: body(seq).into() }).collect();
    assert_eq!(frames, expected);
}

/// First sequence numbers of the segments, in order.
fn segments(disk: &FaultDisk) -> Vec<u64> {
    disk.names(&dir()).iter().filter_map(|name| parse_segment_name(name)).collect()
}

/// Bytes of each frame in a segment: sequence number, start and end.
fn layout(disk: &FaultDisk, segment: &Path) -> Vec<(u64, usize, usize)> {
    let content = disk.content(segment).unwrap();
    let mut start = SEGMENT_HEADER_BYTES as usize;
    let mut frames = Vec::new();
    while start < content.len() {
        let length = u32::from_le_bytes(content[start..start + 4].try_into().unwrap()) & 0xFFFF;
        let seq = u64::from_le_bytes(content[start + 8..start + 16].try_into().unwrap());
        let end = start + FRAME_HEADER_BYTES + length as usize;
        frames.push((seq, start, end));
        start = end;
    }
    frames
}

fn damage(disk: &FaultDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(path).unwrap();
    change(&mut content);
    disk.put(path, &content);
}

fn folder(disk: &FaultDisk) -> Folder {
    Folder::make(disk, &dir()).unwrap()
}

fn path_of(first_seq: u64) -> PathBuf {
    segment_path(&dir(), first_seq)
}
