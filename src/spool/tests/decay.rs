//! Disks that lose data, and the results of the reader.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    super::{
        Loss, Quarantined,
        disk::Disk,
        fault_disk::Rng,
        frame::Salt,
        losses::{LOSSES_NAME, read_losses},
        segment::{quarantine_dir, segment_name},
    },
    *,
};
use crate::conditions::{Condition, Raised};

#[test]
fn a_flipped_byte_in_a_middle_segment_loses_the_frame_it_hits_and_no_other() {
    let disk = filled(40);
    let middle = segments(&disk)[1];
    let frames = layout(&disk, &path_of(middle));
    assert!(frames.len() > 4 && segments(&disk).len() > 3);
    for at in 0..disk.content(&path_of(middle)).unwrap().len() {
        for flip in [0x01, 0x80, 0xFF] {
            let disk = disk.copy();
            damage(&disk, &path_of(middle), |content| content[at] ^= flip);
            let (spool, report) = open(&disk);
            let hit = frames.iter().find(|(_, start, end)| (*start..*end).contains(&at)).map(|(seq, ..)| *seq);
            let batch = read_from(&spool, 0);
            assert_frames(&batch.frames, (0..40).filter(|seq| Some(*seq) != hit));
            assert_eq!(batch.lost, hit.map(|seq| seq..seq + 1).into_iter().collect::<Vec<_>>());
            let expected_headers = if hit.is_none() { vec![path_of(middle)] } else { vec![] };
            assert_eq!(report.damaged_headers, expected_headers);
            let kept = disk.names(&quarantine_dir(&dir()));
            assert_eq!(kept, hit.map_or(vec![], |_| vec![segment_name(middle), LOSSES_NAME.to_owned()]));
        }
    }
}

#[test]
fn damage_anywhere_but_in_the_newest_segment_loses_exactly_the_frames_it_touches() {
    let pristine = filled(120);
    let names = segments(&pristine);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let disk = pristine.copy();
        let mut hit = BTreeSet::new();
        for _ in 0..=rng.below(6) {
            let segment = path_of(names[rng.below(names.len() - 1)]);
            let before = disk.content(&segment).unwrap_or_default();
            let start = rng.below(before.len() + 1);
            let end = (start + rng.below(200)).min(before.len());
            match rng.below(4) {
                0 => damage(&disk, &segment, |content| content[start..end].fill(0)),
                1 => damage(&disk, &segment, |content| content[start..end].iter_mut().for_each(|byte| *byte = rng.next() as u8)),
                2 => damage(&disk, &segment, |content| content.truncate(start)),
                // Bytes of another segment, as if a block was written to the wrong place.
                _ => damage(&disk, &segment, |content| {
                    let other = pristine.content(&path_of(names[0])).unwrap();
                    let end = end.min(other.len()).max(start);
                    content[start..end].copy_from_slice(&other[start..end]);
                }),
            }
            let after = disk.content(&segment).unwrap();
            let first_seq = parse_segment_name(segment.file_name().unwrap().to_str().unwrap()).unwrap();
            let was = pristine.content(&path_of(first_seq)).unwrap();
            for (seq, start, end) in layout(&pristine, &path_of(first_seq)) {
                if after.get(start..end) == Some(&was[start..end]) {
                    hit.remove(&seq);
                } else {
                    hit.insert(seq);
                }
            }
        }
        let (spool, _) = open(&disk);
        let batch = read_from(&spool, 0);
        assert_frames(&batch.frames, (0..120).filter(|seq| !hit.contains(seq)));
        let lost: Vec<_> = batch.lost.iter().cloned().flatten().collect();
        assert_eq!(lost, hit.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_flipped_byte_in_the_newest_segment_costs_no_other_frame_that_was_acknowledged() {
    let disk = filled(7);
    assert_eq!(segments(&disk), [0]);
    let frames = layout(&disk, &path_of(0));
    for at in 0..frames[6].2 {
        let disk = disk.copy();
        damage(&disk, &path_of(0), |content| content[at] ^= 0x10);
        let (spool, report) = open(&disk);
        let hit = frames.iter().find(|(_, start, end)| (*start..*end).contains(&at)).map(|(seq, ..)| *seq);
        let batch = read_from(&spool, 0);
        assert_frames(&batch.frames, (0..7).filter(|seq| Some(*seq) != hit));
        // The end mark proves the last group too.
        assert_eq!(batch.lost, hit.map(|seq| seq..seq + 1).into_iter().collect::<Vec<_>>());
        assert_eq!((report.torn_bytes_cut, spool.durable_end()), (0, 7), "at {at}");
        assert_eq!(losses(&disk).len(), usize::from(hit.is_some()));
        // Frames appended after the damage can be read after the next start.
        append(&spool, &[body(7)]).unwrap();
        drop(spool);
        assert_frames(&read_from(&open(&disk).0, 0).frames, (0..=7).filter(|seq| Some(*seq) != hit));
    }
}

#[test]
fn without_an_end_mark_damage_in_the_last_group_is_named_and_its_number_is_not_given_again() {
    let disk = filled(7);
    disk.take(&dir().join("end"));
    let (_, start, end) = layout(&disk, &path_of(0))[6];
    for at in start..end {
        let disk = disk.copy();
        damage(&disk, &path_of(0), |content| content[at] ^= 0x10);
        let (spool, report) = open(&disk);
        let batch = read_from(&spool, 0);
        assert_frames(&batch.frames, 0..6);
        // A length beyond the end of the file looks like a write that was cut short. No other change does.
        let is_longer = (start..start + 4).contains(&at) && report.torn_bytes_cut > 0;
        assert_eq!(batch.lost.first().map(|lost| lost.start), (!is_longer).then_some(6), "at {at}");
        if at >= start + FRAME_HEADER_BYTES {
            assert_eq!(batch.lost, [6..7]);
        }
        assert!(spool.durable_end() >= if is_longer { 6 } else { 7 });
    }
}

#[test]
fn what_never_arrived_of_the_last_group_is_cut_without_a_word() {
    let disk = filled(7);
    disk.take(&dir().join("end"));
    let (_, start, end) = layout(&disk, &path_of(0))[6];
    let check = |change: fn(&mut Vec<u8>, usize, usize)| {
        let disk = disk.copy();
        damage(&disk, &path_of(0), |content| change(content, start, end));
        let (spool, report) = open(&disk);
        assert!(report.torn_bytes_cut > 0 && report.newest_unreadable.is_none());
        assert_eq!((read_from(&spool, 0).lost, spool.durable_end()), (vec![], 6));
    };
    check(|content, _, end| content.truncate(end - 1));
    check(|content, start, _| content[start..].fill(0));
    check(|content, start, _| content.truncate(start + 3));
}

#[test]
fn a_newest_segment_that_decayed_wholly_gives_none_of_its_numbers_away_again() {
    let disk = filled(12);
    let newest = *segments(&disk).last().unwrap();
    assert!(newest < 10);
    damage(&disk, &path_of(newest), |content| content.fill(0));
    let (spool, report) = open(&disk);
    assert_eq!(report.newest_unreadable, Some(path_of(newest)));
    let appended = append(&spool, &[body(0)]).unwrap();
    assert!(appended.first_seq >= 12, "{appended:?}");
    let batch = read_from(&spool, 0);
    assert_eq!(batch.lost, std::iter::once(newest..appended.first_seq).collect::<Vec<_>>());
    assert_eq!(batch.frames.len() as u64, newest + 1);
}

#[test]
fn numbers_that_the_cursor_knows_are_not_given_again_though_their_frames_decayed() {
    for plan in [false, true] {
        let disk = filled(5);
        let (spool, _) = open(&disk);
        if plan {
            spool.first_sink().plan(5).unwrap();
        } else {
            spool.first_sink().commit(5).unwrap();
        }
        drop(spool);
        let first_start = layout(&disk, &path_of(0))[2].1;
        damage(&disk, &path_of(0), |content| content.truncate(first_start));
        let (spool, _) = open(&disk);
        assert_eq!(append(&spool, &[body(5)]), Ok(Appended { first_seq: 5, end_seq_exclusive: 6 }));
        let batch = read_from(&spool, spool.cursor().delivered_exclusive);
        assert_eq!(batch.lost, if plan { std::iter::once(2..5).collect() } else { vec![] });
    }
}

#[test]
fn a_missing_segment_is_reported_and_passed() {
    let disk = filled(40);
    let names = segments(&disk);
    disk.take(&path_of(names[2]));
    let (spool, report) = open(&disk);
    assert!(report.is_clean());
    let lost = names[2]..names[3];
    let batch = read_from(&spool, 0);
    assert_eq!(batch.lost, std::iter::once(lost.clone()).collect::<Vec<_>>());
    assert_frames(&batch.frames, (0..40).filter(|seq| !lost.contains(seq)));
    // A segment that is removed while the spool is open is reported too.
    disk.take(&path_of(names[1]));
    assert_eq!(read_from(&spool, 0).lost, std::iter::once(names[1]..names[3]).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_starts_behind_the_damage_does_not_report_it() {
    let disk = filled(40);
    let middle = segments(&disk)[1];
    let (seq, start, _) = layout(&disk, &path_of(middle))[1];
    damage(&disk, &path_of(middle), |content| content[start + 8..start + 60].fill(0xAA));
    let (spool, _) = open(&disk);
    let lost = read_from(&spool, 0).lost;
    assert_eq!(lost.first().map(|range| range.start), Some(seq));
    let end = lost[0].end;
    assert!(end > seq + 1);
    assert_eq!(read_from(&spool, seq + 1).lost, std::iter::once(seq + 1..end).collect::<Vec<_>>());
    let behind = read_from(&spool, end);
    assert_eq!(behind.lost, []);
    assert_frames(&behind.frames, end..40);
}

#[test]
fn what_looks_like_a_frame_inside_a_damaged_body_is_not_taken_for_one() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    let forged = |salt: Salt, seq: u64| {
        let mut frames = frames_of(&[b"forged".to_vec()]);
        frames.stamp(salt, seq, true);
        frames.as_bytes().to_vec()
    };
    // A stranger does not know the spool's id, and bytes copied from a later frame claim more frames than can have been lost.
    let stranger = forged(Salt::of(Uuid::nil()), 1);
    let copied = forged(Salt::of(spool.id()), 4);
    append(&spool, &[[stranger, copied].concat(), body(1), body(2), body(3), body(4)]).unwrap();
    append(&spool, &[body(5)]).unwrap();
    damage(&disk, &path_of(0), |content| content[SEGMENT_HEADER_BYTES as usize] ^= 1);
    let batch = read_from(&spool, 0);
    assert_frames(&batch.frames, 1..6);
    assert_eq!(batch.lost, std::iter::once(0..1).collect::<Vec<_>>());
}

#[test]
fn damage_in_one_segment_does_not_reach_into_the_next() {
    let disk = filled(40);
    let middle = segments(&disk)[1];
    // Its later frames also exist in another segment; in the first they are damaged.
    disk.put(&path_of(middle + 2), &disk.content(&path_of(middle)).unwrap());
    let frames = layout(&disk, &path_of(middle));
    damage(&disk, &path_of(middle), |content| content[frames[1].1..frames[2].2].fill(0xAA));
    let batch = read_from(&open(&disk).0, 0);
    assert_eq!(batch.lost, std::iter::once(middle + 1..middle + 2).collect::<Vec<_>>());
    assert_frames(&batch.frames, (0..40).filter(|seq| *seq != middle + 1));
}

/// A short retry time.
fn for_a_moment() -> SpoolConfig {
    let (first, longest, budget) = (Duration::from_millis(2), Duration::from_millis(20), Duration::from_millis(60));
    SpoolConfig { unreadable: Patience { first, longest, budget }, ..config() }
}

fn open_with(disk: &FaultDisk, config: SpoolConfig) -> Spool {
    Spool::open(Arc::new(disk.clone()), config).unwrap().0
}

/// Reads until frames or losses come, even after many failures.
fn read_patiently(spool: &Spool, mut next: impl FnMut() -> std::io::Result<ReadBatch>) -> (ReadBatch, u32) {
    let mut failures = 0;
    loop {
        match next() {
            Ok(batch) => return (batch, failures),
            Err(_) => {
                failures += 1;
                std::thread::sleep(spool.unreadable_pause());
            }
        }
    }
}

fn losses(disk: &FaultDisk) -> Vec<Loss> {
    read_losses(disk, &quarantine_dir(&dir()))
}

#[test]
fn a_bad_block_holds_back_what_lies_in_it_for_its_time_and_is_then_lost_by_number() {
    let disk = filled(200);
    let names = segments(&disk);
    let (seq, start, end) = layout(&disk, &path_of(names[3]))[2];
    disk.state().bad_sector = Some((path_of(names[3]), start as u64..end as u64));
    let spool = open_with(&disk, for_a_moment());
    let mut reader = spool.reader(names[2]);
    // Frames before the bad place come first.
    assert_frames(&reader.read(1000, 1 << 20).unwrap().frames, names[2]..names[3]);
    let raised = || config_conditions(&spool).iter().any(|raised| raised.condition == Condition::SpoolUnreadable);
    assert!(reader.read(1000, 1 << 20).is_err() && raised());
    assert_eq!(reader.next_seq(), names[3]);
    let (batch, failures) = read_patiently(&spool, || reader.read(1000, 1 << 20));
    assert!(failures >= 2, "{failures}");
    // The whole block that holds the sector is lost, and with it this small segment.
    assert_eq!(batch.lost, std::iter::once(names[3]..names[4]).collect::<Vec<_>>());
    assert!(batch.lost[0].contains(&seq) && !raised());
    assert_frames(&batch.frames, names[4]..200);
    let written: Vec<_> = losses(&disk).into_iter().map(|loss| (loss.first_seq, loss.end_seq_exclusive, loss.segment)).collect();
    assert_eq!(written, [(names[3], names[4], segment_name(names[3]))]);
    // A second reader, even after a restart, adds no entry.
    drop((reader, spool));
    let (spool, _) = open(&disk);
    assert_eq!(read_from(&spool, 0).lost, std::iter::once(names[3]..names[4]).collect::<Vec<_>>());
    assert_eq!(losses(&disk).len(), 1);
    assert!(config_conditions(&spool).iter().any(|raised| raised.condition == Condition::SpoolDamaged));
}

fn config_conditions(spool: &Spool) -> Vec<Raised> {
    spool.conditions().list()
}

#[test]
fn a_block_that_comes_back_costs_nothing() {
    let disk = filled(40);
    let names = segments(&disk);
    disk.state().bad_sector = Some((path_of(names[1]), 0..1 << 20));
    let spool = open_with(&disk, SpoolConfig { unreadable: Patience { budget: Duration::MAX, ..AT_ONCE }, ..config() });
    let mut reader = spool.reader(names[1]);
    for _ in 0..20 {
        assert!(reader.read(1000, 1 << 20).is_err());
    }
    disk.state().bad_sector = None;
    let batch = reader.read(1000, 1 << 20).unwrap();
    assert_frames(&batch.frames, names[1]..40);
    assert_eq!((batch.lost, losses(&disk)), (vec![], vec![]));
    assert_eq!(config_conditions(&spool), []);
}

#[test]
fn a_segment_that_loses_its_name_while_it_is_written_is_waited_for_without_any_patience() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    append(&spool, &[body(0), body(1)]).unwrap();
    disk.remove(&path_of(0)).unwrap();
    // The reader sees it before the writer checks.
    let mut reader = spool.reader(0);
    let (batch, _) = read_patiently(&spool, || reader.read(1000, 1 << 20));
    assert_frames(&batch.frames, 0..2);
    assert_eq!((batch.lost, losses(&disk)), (vec![], vec![]));
}

#[test]
fn the_time_of_a_block_is_the_same_for_every_reader_and_every_clone() {
    let disk = filled(40);
    let names = segments(&disk);
    disk.state().bad_sector = Some((path_of(names[1]), 0..1 << 20));
    let spool = open_with(&disk, for_a_moment());
    let first = spool.reader(names[1]);
    let mut round = 0;
    let (batch, failures) = read_patiently(&spool, || {
        round += 1;
        if round % 2 == 0 { first.clone().read(1000, 1 << 20) } else { spool.reader(names[1]).read(1000, 1 << 20) }
    });
    assert!(failures >= 2);
    assert_eq!(batch.lost, std::iter::once(names[1]..names[2]).collect::<Vec<_>>());
}

#[test]
fn a_descriptor_that_is_missing_is_waited_for_and_loses_nothing() {
    let disk = filled(40);
    let (spool, _) = open(&disk);
    disk.state().faults.no_descriptor = 1000;
    let mut reader = spool.reader(0);
    for _ in 0..20 {
        assert!(reader.read(1000, 1 << 20).is_err());
    }
    disk.state().faults.no_descriptor = 0;
    let batch = reader.read(1000, 1 << 20).unwrap();
    assert_frames(&batch.frames, 0..40);
    assert_eq!((batch.lost, config_conditions(&spool)), (vec![], vec![]));
}

#[test]
fn a_disk_that_yields_nothing_is_not_taken_for_a_damaged_one() {
    let disk = filled(40);
    let (spool, _) = open(&disk);
    disk.state().faults.read_error = 1000;
    let mut reader = spool.reader(0);
    for _ in 0..30 {
        assert!(reader.read(1000, 1 << 20).is_err());
    }
    disk.state().faults.read_error = 0;
    let batch = reader.read(1000, 1 << 20).unwrap();
    assert_frames(&batch.frames, 0..40);
    assert_eq!(batch.lost, []);
}

#[test]
fn who_only_looks_waits_for_nothing_and_writes_nothing_down() {
    let disk = filled(40);
    let names = segments(&disk);
    disk.state().bad_sector = Some((path_of(names[1]), 0..1 << 20));
    let spool = open_with(&disk, for_a_moment());
    let mut reader = spool.reader(0).that_only_looks();
    let batch = reader.read(1000, 1 << 20).unwrap();
    assert_eq!(batch.lost, std::iter::once(names[1]..names[2]).collect::<Vec<_>>());
    assert_frames(&batch.frames, (0..names[1]).chain(names[2]..40));
    assert_eq!((losses(&disk), config_conditions(&spool)), (vec![], vec![]));
    assert_eq!(disk.names(&quarantine_dir(&dir())), Vec::<String>::new());
}

#[test]
fn what_is_in_the_quarantine_stays_whole_when_its_segment_is_delivered_and_unlinked() {
    let disk = filled(40);
    let names = segments(&disk);
    let (_, start, _) = layout(&disk, &path_of(names[1]))[1];
    damage(&disk, &path_of(names[1]), |content| content[start + 20] ^= 1);
    let content = disk.content(&path_of(names[1])).unwrap();
    let (spool, _) = open(&disk);
    read_from(&spool, 0);
    spool.first_sink().commit(40).unwrap();
    assert!(spool.unlink_delivered().unwrap() > 1);
    assert_eq!(disk.content(&path_of(names[1])), None);
    assert_eq!(disk.content(&quarantine_dir(&dir()).join(segment_name(names[1]))), Some(content.clone()));
    assert_eq!(spool.quarantined(), Quarantined { files: 1, bytes: content.len() as u64 });
}
