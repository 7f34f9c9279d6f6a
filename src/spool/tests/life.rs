//! Many callers at once, starting, stopping, and the real disk.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{Barrier, Mutex},
    thread,
    time::Instant,
};

use super::{
    super::{
        OpenError, RealDisk,
        queue::{Pending, Queue},
    },
    *,
};
use crate::{
    conditions::Condition,
    limits::{GROUP_GATHER_FROM, GROUP_GATHER_TIME},
};

#[test]
fn concurrent_appends_share_an_fsync_and_are_answered_in_order() {
    let disk = FaultDisk::new(1);
    let config = SpoolConfig { segment_bytes: 1 << 20, ..config() };
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config).unwrap();
    let (go, wait) = mpsc::channel::<()>();
    // The writer calls this, so it waits until all others have queued.
    let (entered, is_entered) = mpsc::channel();
    spool.append(frames_of(&[body(0)]), move |_| {
        entered.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_entered.recv().unwrap();
    let (syncs, answers) = (disk.state().syncs, Arc::new(Mutex::new(Vec::new())));
    let all_queued = Barrier::new(9);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answers = Arc::clone(&answers);
                    spool.append(frames_of(&[b"a".to_vec(), b"b".to_vec()]), move |answer| {
                        answers.lock().unwrap().push(answer.unwrap());
                    });
                }
                all_queued.wait();
            });
        }
        all_queued.wait();
        go.send(()).unwrap();
    });
    spool.close();
    // The other syncs are those of the end mark, which is written when the spool closes: its file, and the folder for its
    // name.
    assert_eq!(disk.state().syncs, syncs + 1 + 2, "eighty appends, one fsync");
    let expected: Vec<_> = (0..80).map(|n| Appended { first_seq: 1 + 2 * n, end_seq_exclusive: 3 + 2 * n }).collect();
    assert_eq!(*answers.lock().unwrap(), expected);
}

#[test]
fn a_group_takes_no_more_bytes_than_it_may_but_at_least_one_append() {
    let queue = Queue::new(10_000, 100);
    for size in [500, 30, 30, 30, 1] {
        queue.push(Pending::new(frames_of(&[vec![0; size]]), Box::new(|_| ())));
    }
    let sizes = || queue.next_group().map(|group| group.appends.len());
    assert_eq!([sizes(), sizes(), sizes()], [Some(1), Some(2), Some(2)]);
    queue.close();
    assert_eq!(sizes(), None);
}

#[test]
fn after_a_group_of_many_the_next_one_waits_for_others_but_not_for_long() {
    let queue = Queue::new(usize::MAX, usize::MAX);
    let push = || queue.push(Pending::new(frames_of(&[body(0)]), Box::new(|_| ())));
    // With a larger number it would wait here for the first append.
    queue.gather(GROUP_GATHER_FROM - 1);
    push();
    let started = Instant::now();
    queue.gather(64);
    assert!(started.elapsed() >= GROUP_GATHER_TIME, "{:?}", started.elapsed());
    assert_eq!(queue.next_group().map(|group| group.appends.len()), Some(1), "nobody else came");
    // Waits for the first append, and loses no later one.
    let groups = thread::scope(|scope| {
        scope.spawn(|| (0..100).for_each(|_| push()));
        let mut appends = 0;
        while appends < 100 {
            queue.gather(GROUP_GATHER_FROM);
            appends += queue.next_group().map_or(0, |group| group.appends.len());
        }
        appends
    });
    assert_eq!(groups, 100);
    queue.close();
    queue.gather(64);
    assert!(queue.next_group().is_none());
}

#[test]
fn closing_writes_what_waits_and_refuses_what_comes_after() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    let (answer, answers) = mpsc::channel();
    for seq in 0..50 {
        let answer = answer.clone();
        spool.append(frames_of(&[body(seq)]), move |outcome| answer.send(outcome).unwrap());
    }
    spool.close();
    assert_eq!(answers.try_iter().filter(Result::is_ok).count(), 50);
    assert_eq!(append(&spool, &[body(50)]), Err(AppendError::Closed));
    // The deliverer may still be at work.
    assert_frames(&read_from(&spool, 0).frames, 0..50);
    spool.first_sink().commit(50).unwrap();
    assert!(matches!(Spool::open(Arc::new(disk.clone()), config()), Err(OpenError::Locked(_))), "the folder is still ours");
    drop(spool);
    assert_eq!(open(&disk).0.cursor().delivered_exclusive, 50);
}

#[test]
fn the_last_owner_may_be_the_callback_of_an_append() {
    let (spool, _) = open(&FaultDisk::new(1));
    let spool = Arc::new(spool);
    let (answer, answers) = mpsc::channel();
    let (dropped, is_dropped) = mpsc::channel::<()>();
    let owner = Arc::clone(&spool);
    spool.append(frames_of(&[body(0)]), move |outcome| {
        is_dropped.recv().unwrap();
        drop(owner);
        answer.send(outcome).unwrap();
    });
    drop(spool);
    dropped.send(()).unwrap();
    assert!(answers.recv().unwrap().is_ok());
}

#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let (spool, _) = open(&FaultDisk::new(1));
    spool.append(frames_of(&[body(0)]), |_| panic!("on purpose"));
    assert!(append(&spool, &[body(1)]).is_ok());
}

#[test]
fn a_writer_that_panics_acknowledges_nothing_and_leaves_nobody_waiting() {
    let (disk, config) = (FaultDisk::new(1), config());
    let conditions = config.conditions.clone();
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config).unwrap();
    disk.state().panics_on_write = true;
    assert_eq!(append(&spool, &[body(0)]), Err(AppendError::Failed));
    assert!(matches!(append(&spool, &[body(0)]), Err(AppendError::Closed | AppendError::Failed)));
    spool.close();
    let raised = conditions.list();
    let ended: Vec<_> = raised.iter().map(|raised| (raised.condition, raised.place.as_str())).collect();
    assert_eq!(ended, [(Condition::PartEnded, "spool-writer")], "it is a bug, and nothing of the disk's");
    assert!(!*spool.watch_failed().borrow());
}

#[test]
fn a_segment_is_closed_on_request_only_when_it_holds_frames_and_all_are_delivered() {
    let disk = FaultDisk::new(1);
    let (spool, mut writer, _) = Spool::open_without_thread(Arc::new(disk.clone()), config()).unwrap();
    let mut roll = || {
        spool.roll_if_delivered();
        writer.step();
        segments(&disk)
    };
    let creations = disk.state().creations;
    assert_eq!(roll(), [0], "it is empty");
    assert_eq!(disk.state().creations, creations, "nor is it tried");
    spool.append(frames_of(&[body(0), body(1)]), |_| ());
    assert_eq!(roll(), [0], "nothing is delivered");
    spool.first_sink().commit(1).unwrap();
    assert_eq!(roll(), [0], "not all is delivered");
    spool.first_sink().commit(2).unwrap();
    assert_eq!(roll(), [0, 2]);
    assert_eq!(spool.unlink_delivered().unwrap(), 1);
    assert_eq!(segments(&disk), [2]);
    assert_eq!(spool.stats().first_seq, 2);
}

#[test]
fn a_segment_that_could_not_be_begun_does_not_come_back_after_a_crash() {
    for seed in 0..20 {
        let disk = FaultDisk::new(seed);
        let (spool, mut writer, _) = Spool::open_without_thread(Arc::new(disk.clone()), config()).unwrap();
        spool.append(frames_of(&[body(0)]), |_| ());
        writer.step();
        spool.first_sink().commit(1).unwrap();
        disk.state().faults.write_error = 1000;
        spool.roll_if_delivered();
        writer.step();
        assert!(!*spool.watch_failed().borrow());
        drop((spool, writer));
        disk.power_loss();
        assert_eq!(segments(&disk), [0]);
    }
}

#[test]
fn what_was_unlinked_does_not_come_back() {
    let disk = filled(120);
    let (spool, _) = open(&disk);
    spool.first_sink().commit(119).unwrap();
    assert!(spool.unlink_delivered().unwrap() > 5);
    let left = segments(&disk);
    drop(spool);
    disk.power_loss();
    assert_eq!(segments(&disk), left);
}

#[test]
fn a_reader_goes_on_in_a_segment_that_is_unlinked_and_misses_nothing_that_is_delivered() {
    let disk = filled(40);
    let (spool, _) = open(&disk);
    let mut reader = spool.reader(0);
    let before = reader.read(2, 1000).unwrap();
    assert_frames(&before.frames, 0..2);
    spool.first_sink().commit(39).unwrap();
    spool.unlink_delivered().unwrap();
    let rest = reader.read(1000, 1 << 20).unwrap();
    assert_eq!(rest.lost, [], "what was delivered is not lost");
    assert_eq!(rest.frames.last().map(|frame| frame.seq), Some(39));
    // A new reader below the oldest segment begins with that segment.
    let batch = read_from(&spool, 0);
    assert_eq!(batch.lost, []);
    assert_frames(&batch.frames, spool.stats().first_seq..40);
}

#[test]
fn a_reader_may_begin_anywhere_and_keeps_to_its_limits() {
    let disk = filled(40);
    let (spool, _) = open(&disk);
    for start in 0..=40 {
        assert_frames(&read_from(&spool, start).frames, start..40);
    }
    let mut reader = spool.reader(0);
    assert_eq!(reader.read(1000, 0).unwrap().frames.len(), 1, "one always");
    let two = body(1).len() + body(2).len();
    assert_frames(&reader.read(1000, two + 1).unwrap().frames, 1..3);
    assert_frames(&reader.read(4, 1000).unwrap().frames, 3..7);
}

#[test]
fn bodies_share_the_memory_of_their_chunk() {
    let (spool, _) = open(&filled(5));
    let batch = spool.reader(0).read(10, 1000).unwrap();
    let address = |index: usize| batch.frames[index].body.as_ptr() as usize;
    assert_eq!(address(1) - address(0), body(0).len() + FRAME_HEADER_BYTES);
}

#[tokio::test]
async fn a_deliverer_can_wait_for_new_frames() {
    let (spool, _) = open(&FaultDisk::new(1));
    let mut durable_end = spool.watch_durable_end();
    spool.append(frames_of(&[body(0), body(1)]), |_| ());
    assert_eq!(*durable_end.wait_for(|end| *end > 0).await.unwrap(), 2);
}

#[test]
fn a_clone_of_a_reader_looks_ahead_and_leaves_it_where_it_is() {
    let disk = FaultDisk::new(1);
    let (spool, _) = open(&disk);
    append(&spool, &[body(0), body(1), body(2)]).unwrap();
    let mut reader = spool.reader(0);
    assert_frames(&reader.read(1, usize::MAX).unwrap().frames, 0..1);
    assert_frames(&reader.clone().read(1, usize::MAX).unwrap().frames, 1..2);
    assert_frames(&reader.read(10, usize::MAX).unwrap().frames, 1..3);
}

#[test]
fn on_the_real_disk_it_is_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b/spool");
    let config = SpoolConfig { dir: dir.clone(), segment_bytes: 2000, queue_bytes_max: 8 << 20, ..config() };
    let open = || Spool::open(Arc::new(RealDisk), config.clone()).unwrap();
    let (spool, report) = open();
    assert!(report.is_clean());
    assert!(matches!(Spool::open(Arc::new(RealDisk), config.clone()), Err(OpenError::Locked(_))));
    for seq in 0..100 {
        append(&spool, &[body(seq)]).unwrap();
    }
    // More parts than one system call takes.
    for seq in 100..2000 {
        spool.append(frames_of(&[body(seq)]), |_| ());
    }
    let large = vec![7; crate::limits::FRAME_BODY_BYTES_MAX];
    append(&spool, std::slice::from_ref(&large)).unwrap();
    let id = spool.id();
    drop(spool);

    let (spool, report) = open();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(spool.id(), id);
    let batch = read_from(&spool, 0);
    assert_frames(&batch.frames[..2000], 0..2000);
    assert_eq!(batch.frames[2000].body, large);
    spool.first_sink().plan(1999).unwrap();
    spool.first_sink().commit(1500).unwrap();
    assert!(spool.unlink_delivered().unwrap() > 0);
    let stats = spool.stats();
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()).collect();
    let on_disk = files.iter().filter(|file| file.path().extension().is_some_and(|extension| extension == "seg"));
    assert_eq!(stats.bytes, on_disk.map(|file| file.metadata().unwrap().len()).sum::<u64>());
    let mode = std::fs::metadata(dir.join("cursor")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "events are nobody else's business");
    drop(spool);

    let newest = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, [&bytes[..], b"torn"].concat()).unwrap();
    let (spool, report) = open();
    assert_eq!(report.torn_bytes_cut, 4);
    assert_eq!((spool.cursor().delivered_exclusive, spool.cursor().planned_end_exclusive), (1500, Some(1999)));
    assert_eq!(spool.durable_end(), 2001);
}
