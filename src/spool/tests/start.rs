//! Starts on a folder that a crash, an operator or another program left.

use uuid::Uuid;

use super::{
    super::{
        OpenError,
        fault::seal,
        segment::{create_segment, quarantine_dir, segment_name},
    },
    *,
};

#[test]
fn a_newest_segment_cut_anywhere_keeps_all_its_whole_frames() {
    for frames in [7, 20] {
        let disk = filled(frames);
        disk.take(&dir().join("end"));
        let newest = *segments(&disk).last().unwrap();
        let layout = layout(&disk, &path_of(newest));
        let size = layout.last().unwrap().2;
        for cut in 0..size {
            let disk = disk.copy();
            damage(&disk, &path_of(newest), |content| content.truncate(cut));
            let (spool, report) = open(&disk);
            let whole = layout.iter().filter(|(_, _, end)| *end <= cut).count() as u64;
            let end = newest + whole;
            assert_eq!(spool.durable_end(), end);
            let has_header = cut as u64 >= SEGMENT_HEADER_BYTES;
            assert_eq!(report.torn_segments_removed, u64::from(!has_header));
            let kept = layout.iter().map(|(_, _, end)| *end).filter(|end| *end <= cut).max();
            let kept = kept.unwrap_or(SEGMENT_HEADER_BYTES as usize);
            assert_eq!(report.torn_bytes_cut, if has_header { (cut - kept) as u64 } else { 0 });
            assert_eq!(append(&spool, &[body(end)]), Ok(Appended { first_seq: end, end_seq_exclusive: end + 1 }));
            drop(spool);
            let (spool, report) = open(&disk);
            assert!(report.is_clean(), "{report:?}");
            let batch = read_from(&spool, 0);
            assert_eq!(batch.lost, []);
            assert_frames(&batch.frames, 0..=end);
        }
    }
}

#[test]
fn a_hole_in_a_group_that_was_never_acknowledged_is_cut_and_not_reported() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    append(&spool, &[body(0)]).unwrap();
    append(&spool, &(1..5).map(body).collect::<Vec<_>>()).unwrap();
    drop(spool);
    let (_, start, _) = layout(&disk, &path_of(0))[2];
    disk.take(&dir().join("end"));
    damage(&disk, &path_of(0), |content| content[start..start + 20].fill(0));
    let (spool, report) = open(&disk);
    assert!(report.torn_bytes_cut > 0);
    append(&spool, &[body(2)]).unwrap();
    let batch = read_from(&spool, 0);
    assert_frames(&batch.frames, 0..3);
    assert_eq!(batch.lost, []);
}

#[test]
fn a_file_shorter_than_its_end_mark_lost_what_was_durable_and_gives_none_of_it_away_again() {
    let disk = filled(7);
    let (_, start, _) = layout(&disk, &path_of(0))[4];
    damage(&disk, &path_of(0), |content| content.truncate(start + 5));
    let (spool, report) = open(&disk);
    assert_eq!((report.torn_bytes_cut, report.newest_unreadable), (0, Some(path_of(0))));
    let batch = read_from(&spool, 0);
    assert_frames(&batch.frames, 0..4);
    assert_eq!(batch.lost, [4..7]);
    assert_eq!(append(&spool, &[body(7)]), Ok(Appended { first_seq: 7, end_seq_exclusive: 8 }));
}

#[test]
fn a_cursor_cut_or_flipped_anywhere_falls_back_to_the_oldest_segment() {
    let disk = filled(40);
    let (spool, _) = open(&disk);
    spool.first_sink().commit(20).unwrap();
    assert!(spool.unlink_delivered().unwrap() > 0);
    let first_seq = spool.stats().first_seq;
    drop(spool);
    let cursor = dir().join("cursor");
    let size = disk.content(&cursor).unwrap().len();
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let disk = disk.copy();
        damage(&disk, &cursor, |content| change(content));
        let (spool, report) = open(&disk);
        assert!(report.cursor_lost);
        assert_eq!(spool.cursor().delivered_exclusive, first_seq);
        assert_frames(&read_from(&spool, first_seq).frames, first_seq..40);
        spool.first_sink().commit(first_seq + 1).unwrap();
        drop(spool);
        assert!(open(&disk).1.is_clean());
    };
    for at in 0..size {
        check(&|content| content.truncate(at));
        check(&|content| content[at] ^= 0x04);
    }
    disk.take(&cursor);
    assert!(open(&disk).1.cursor_lost);
}

#[test]
fn a_spool_id_cut_or_flipped_anywhere_is_restored_from_the_segments() {
    let disk = filled(5);
    let (spool, _) = open(&disk);
    spool.first_sink().commit(2).unwrap();
    let id = spool.id();
    drop(spool);
    let path = dir().join("spool.id");
    for at in 0..disk.content(&path).unwrap().len() {
        for cut in [true, false] {
            let disk = disk.copy();
            damage(&disk, &path, |content| if cut { content.truncate(at) } else { content[at] ^= 0x20 });
            let (spool, report) = open(&disk);
            assert!(report.id_restored);
            assert_eq!((spool.id(), spool.cursor().delivered_exclusive), (id, 2));
            assert_frames(&read_from(&spool, 0).frames, 0..5);
            drop(spool);
            assert!(open(&disk).1.is_clean());
        }
    }
}

#[test]
fn segments_of_another_spool_are_set_aside_and_nothing_is_replaced_there() {
    let disk = filled(40);
    let names = segments(&disk);
    for round in 1..3 {
        disk.take(&path_of(names[1]));
        create_segment(&disk, &folder(&disk), Uuid::from_u128(9), names[1]).unwrap();
        let (spool, report) = open(&disk);
        let name = segment_name(names[1]);
        let aside = quarantine_dir(&dir()).join(if round == 1 { name } else { format!("{name}.1") });
        assert_eq!(report.set_aside, [(aside, names[1]..names[2])]);
        let batch = read_from(&spool, 0);
        assert_eq!(batch.lost, std::iter::once(names[1]..names[2]).collect::<Vec<_>>());
        assert_frames(&batch.frames, (0..names[1]).chain(names[2]..40));
    }
}

#[test]
fn a_segment_under_a_wrong_name_hides_no_frame() {
    let disk = filled(40);
    let names = segments(&disk);
    disk.put(&path_of(names[1] + 1), &disk.content(&path_of(names[1])).unwrap());
    let (spool, report) = open(&disk);
    assert_eq!(report.damaged_headers, [path_of(names[1] + 1)]);
    let batch = read_from(&spool, 0);
    assert_frames(&batch.frames, 0..40);
    assert_eq!(batch.lost, []);
}

#[test]
fn a_segment_of_another_version_is_left_alone() {
    let disk = filled(5);
    let content = seal(&[b"LKGSPOOL", &2u32.to_le_bytes(), &[7; 24]]);
    disk.put(&path_of(5), &content);
    let refused = Spool::open(Arc::new(disk.clone()), config()).map(|_| ());
    assert!(matches!(refused, Err(OpenError::UnknownVersion { version: 2, .. })));
    assert_eq!(disk.content(&path_of(5)), Some(content));
}

#[test]
fn leftovers_of_files_being_replaced_are_removed_and_strange_files_are_not() {
    let disk = filled(5);
    disk.put(&dir().join("cursor.tmp"), b"half");
    disk.put(&dir().join("notes.txt"), b"mine");
    let (_, report) = open(&disk);
    assert_eq!(report, RecoveryReport { temp_files_removed: 1, ..RecoveryReport::default() });
    assert_eq!(disk.content(&dir().join("cursor.tmp")), None);
    assert!(disk.content(&dir().join("notes.txt")).is_some());
}

#[test]
fn without_segments_numbers_go_on_at_the_cursor_and_without_a_cursor_the_spool_is_another() {
    let disk = filled(5);
    let (spool, _) = open(&disk);
    spool.first_sink().commit(5).unwrap();
    let id = spool.id();
    drop(spool);
    disk.take(&path_of(0));
    let (spool, _) = open(&disk);
    assert_eq!((spool.id(), spool.durable_end()), (id, 5));
    drop(spool);
    disk.take(&path_of(5));
    disk.take(&dir().join("cursor"));
    let (spool, _) = open(&disk);
    assert_ne!(spool.id(), id, "or a sink would take what comes for what it has");
    assert_eq!(spool.durable_end(), 0);
}

#[test]
fn the_name_of_a_torn_segment_still_says_which_numbers_were_given() {
    let disk = filled(5);
    // The segment before it decayed at its end, and the one after it was just being created.
    let cut = layout(&disk, &path_of(0))[3].1;
    damage(&disk, &path_of(0), |content| content.truncate(cut));
    disk.put(&path_of(5), b"LKG");
    let (spool, report) = open(&disk);
    assert_eq!(report.torn_segments_removed, 1);
    assert_eq!(append(&spool, &[body(5)]), Ok(Appended { first_seq: 5, end_seq_exclusive: 6 }));
    assert_eq!(read_from(&spool, 0).lost, std::iter::once(3..5).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_does_not_keep_the_spool_from_starting() {
    let disk = filled(40);
    disk.state().capacity = 0;
    let (spool, report) = open(&disk);
    assert!(report.is_clean());
    assert_eq!(append(&spool, &[body(40)]), Err(AppendError::NoSpace));
    assert_frames(&read_from(&spool, 0).frames, 0..40);
}
