//! Full disks, full quotas, and a disk that refuses.

use super::{
    super::{CursorError, fault_disk::Faults},
    *,
};

#[test]
fn at_the_quota_appends_are_refused_until_something_is_unlinked() {
    let disk = FaultDisk::new(1);
    let config = SpoolConfig { quota_bytes: 1000, ..config() };
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config).unwrap();
    let mut seq = 0;
    while append(&spool, &[body(seq)]).is_ok() {
        seq += 1;
        assert!(seq < 100, "the quota holds");
    }
    assert_eq!(append(&spool, &[body(seq)]), Err(AppendError::QuotaFull));
    assert!(spool.stats().bytes <= 1000 && spool.stats().bytes > 900);
    // Delivery alone frees nothing.
    spool.first_sink().commit(seq).unwrap();
    assert_eq!(append(&spool, &[body(seq)]), Err(AppendError::QuotaFull));
    assert!(spool.unlink_delivered().unwrap() > 0);
    assert_eq!(append(&spool, &[body(seq)]), Ok(Appended { first_seq: seq, end_seq_exclusive: seq + 1 }));
    // The space of unlinked segments is not counted twice.
    assert_eq!(
        spool.stats().bytes,
        segments(&disk).iter().map(|s| disk.content(&path_of(*s)).unwrap().len() as u64).sum::<u64>()
    );
}

#[test]
fn a_refused_append_in_a_group_does_not_hurt_the_others() {
    let config = SpoolConfig { quota_bytes: 1000, segment_bytes: 5000, ..config() };
    let (spool, mut writer, _) = Spool::open_without_thread(Arc::new(FaultDisk::new(1)), config).unwrap();
    let (answer, answers) = mpsc::channel();
    for size in [100, 2000, 100] {
        let answer = answer.clone();
        spool.append(frames_of(&[vec![b'x'; size]]), move |outcome| answer.send(outcome).unwrap());
    }
    writer.step();
    let expected = [
        Ok(Appended { first_seq: 0, end_seq_exclusive: 1 }),
        Err(AppendError::QuotaFull),
        Ok(Appended { first_seq: 1, end_seq_exclusive: 2 }),
    ];
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn below_the_free_floor_appends_are_refused_until_there_is_room() {
    let disk = FaultDisk::new(1);
    let config = SpoolConfig { free_bytes_min: 500, ..config() };
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config).unwrap();
    disk.state().capacity = 600;
    let writes = disk.state().writes;
    assert_eq!(append(&spool, &[vec![b'x'; 200]]), Err(AppendError::NoSpace));
    assert_eq!(disk.state().writes, writes, "refused before anything is written");
    disk.state().capacity = 1000;
    assert!(append(&spool, &[vec![b'x'; 200]]).is_ok());
}

#[test]
fn a_disk_that_runs_full_within_a_write_leaves_no_trace_of_it_and_goes_on_when_there_is_room() {
    let disk = FaultDisk::new(1);
    let config = SpoolConfig { segment_bytes: 5000, ..config() };
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config.clone()).unwrap();
    append(&spool, &[body(0)]).unwrap();
    let size = disk.content(&path_of(0)).unwrap().len();
    // The file system may give less space than it reports as free.
    disk.state().hidden_bytes = 100;
    disk.state().capacity = size as u64 + 200;
    assert_eq!(append(&spool, &[vec![b'x'; 150]]), Err(AppendError::NoSpace));
    assert_eq!(disk.content(&path_of(0)).unwrap().len(), size);
    disk.state().capacity = 10_000;
    assert_eq!(append(&spool, &[body(1)]), Ok(Appended { first_seq: 1, end_seq_exclusive: 2 }));
    // The same if a new segment cannot be created.
    disk.state().hidden_bytes = 0;
    drop(spool);
    let (spool, _) = Spool::open(Arc::new(disk.clone()), SpoolConfig { segment_bytes: 10, ..config }).unwrap();
    disk.state().faults.write_error = 1000;
    assert_eq!(append(&spool, &[body(2)]), Err(AppendError::WriteFailed));
    assert_eq!(segments(&disk), [0]);
    disk.state().faults.write_error = 0;
    append(&spool, &[body(2)]).unwrap();
    assert_eq!(segments(&disk), [0, 2]);
    assert_frames(&read_from(&spool, 0).frames, 0..3);
}

#[test]
fn interrupted_and_short_writes_are_no_failures() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    disk.state().faults = Faults { interrupted: 500, short_write: 500, ..Faults::default() };
    for seq in 0..20 {
        // But a write of zero bytes is an error.
        while append(&spool, &[body(seq)]) == Err(AppendError::NoSpace) {}
        assert_eq!(spool.durable_end(), seq + 1);
    }
    assert_frames(&read_from(&spool, 0).frames, 0..20);
}

#[test]
fn a_failed_fsync_ends_all_writing_and_is_never_tried_again() {
    let disk = filled(5);
    let (spool, _) = open(&disk);
    let failed = spool.watch_failed();
    assert!(!*failed.borrow());
    disk.state().faults.sync_error = 1000;
    assert_eq!(append(&spool, &[body(5)]), Err(AppendError::Failed));
    assert!(*failed.borrow());
    disk.state().faults.sync_error = 0;
    let work = || {
        let state = disk.state();
        (state.writes, state.syncs)
    };
    let before = work();
    assert_eq!(append(&spool, &[body(5)]), Err(AppendError::Failed));
    spool.roll_if_delivered();
    assert!(matches!(spool.first_sink().commit(5), Err(CursorError::Failed)));
    assert!(spool.unlink_delivered().is_err());
    assert_eq!(work(), before);
    assert_eq!(spool.durable_end(), 5);
    // Durable frames are still read, and a restart continues.
    assert_frames(&read_from(&spool, 0).frames, 0..5);
    drop(spool);
    disk.power_loss();
    let (spool, _) = open(&disk);
    let end = spool.durable_end();
    assert!(end == 5 || end == 6, "{end}");
    assert_frames(&read_from(&spool, 0).frames, 0..end);
    append(&spool, &[body(end)]).unwrap();
}

#[test]
fn the_cursor_only_moves_forward_and_never_past_what_is_durable() {
    let (spool, _) = open(&filled(5));
    spool.first_sink().commit(3).unwrap();
    for seq in [2, 6, u64::MAX] {
        assert!(matches!(
            spool.first_sink().commit(seq),
            Err(CursorError::OutOfRange { from_inclusive: 3, to_inclusive: 5, .. })
        ));
    }
    assert!(matches!(spool.first_sink().plan(3), Err(CursorError::OutOfRange { .. })), "an empty stretch");
    spool.first_sink().plan(5).unwrap();
    spool.first_sink().commit(4).unwrap();
    assert_eq!(spool.cursor().planned_end_exclusive, Some(5), "the rest of the stretch is still planned");
    spool.first_sink().commit(5).unwrap();
    assert_eq!(spool.cursor().planned_end_exclusive, None);
}

#[test]
fn what_waits_for_the_writer_is_bounded_but_one_append_always_fits() {
    let config = SpoolConfig { queue_bytes_max: 1000, ..config() };
    let (spool, mut writer, _) = Spool::open_without_thread(Arc::new(FaultDisk::new(1)), config).unwrap();
    let (answer, answers) = mpsc::channel();
    let append = |size: usize| {
        let answer = answer.clone();
        spool.append(frames_of(&[vec![b'x'; size]]), move |outcome| answer.send(outcome).unwrap());
    };
    append(5000);
    assert!(answers.try_recv().is_err(), "it waits, though it is larger than the queue");
    append(10);
    assert_eq!(answers.try_recv(), Ok(Err(AppendError::Busy)), "told at once");
    assert!(writer.step().is_some());
    assert!(answers.try_recv().unwrap().is_ok());
    append(400);
    append(400);
    append(400);
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [Err(AppendError::Busy)]);
    assert!(writer.step().is_some());
    assert_eq!(answers.try_iter().filter(Result::is_ok).count(), 2);
}
