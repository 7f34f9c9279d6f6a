//! Rows that left for good: each commit says how many of which minute, and the log's clean-up keeps the sums.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    ops::Range,
};

use super::*;
use crate::{
    event::Date,
    sink::lake::{
        AsOf, CompactRequest, ErasedRows, NameRetention, Pace, RemovedByMinute, RemovedWhy, Retention, RowErasure, StopSignal,
        Upkeep, back_up, erase_rows,
        scratch::Scratch,
        store::Store,
        upkeep::{Outcome, Rewrite},
    },
};

const MINUTE: i64 = 60_000;
const ALWAYS: Range<i64> = i64::MIN..i64::MAX;

fn upkeep(lake: &TestLake) -> Upkeep {
    Upkeep::open(&lake.config(), lake.root().to_owned()).unwrap().unwrap()
}

fn full() -> Pace {
    Pace::full(StopSignal::default())
}

fn removed(lake: &TestLake) -> RemovedByMinute {
    lake.reader().removed_by_minute(ALWAYS).unwrap()
}

fn rows(lake: &TestLake) -> BTreeMap<i64, u64> {
    lake.reader().rows_by_minute(&Filters::default(), ALWAYS, false).unwrap().minutes
}

/// Removed rows by minutes after [`NOW`]: expired, erased, doubles.
fn listed(removed: &RemovedByMinute) -> Vec<(i64, [u64; 3])> {
    let minutes = removed.minutes.iter();
    minutes.map(|(minute, rows)| (minute - NOW / MINUTE, [rows.expired, rows.erased, rows.doubles])).collect()
}

/// What was written is there, or is known to be removed: minute by minute.
fn assert_accounted(lake: &TestLake, written: &BTreeMap<i64, u64>) {
    let (mut accounted, removed) = (rows(lake), removed(lake));
    for (minute, gone) in &removed.minutes {
        *accounted.entry(*minute).or_default() += gone.rows();
    }
    assert_eq!(&accounted, written);
    assert_eq!((removed.spans, removed.unrecorded), (vec![], None));
}

/// Six flushes, a minute apart, of events of two names that are ten days old; each begins with an event that was delivered before.
async fn some_lake() -> TestLake {
    let lake = TestLake::new();
    for flush in 0..6_u64 {
        let at = i64::try_from(flush).unwrap() * MINUTE;
        let old = |number: u128, name: &str, millis: i64| {
            let envelope =
                Envelope { created_at: created(NOW - 10 * DAY), received_millis: NOW + millis, ..envelope(number, name) };
            record(&envelope, b"{}")
        };
        let number = u128::from(flush) * 10;
        let records = vec![
            old(7_777, "menu:b", at + 100),
            old(number, "menu:a", at),
            old(number + 1, "menu:b", at + MINUTE - 1),
            old(number + 2, "menu:b", at + MINUTE),
            old(number + 3, "cart:added", at + 5 * MINUTE),
        ];
        lake.write(flush * 5, records).await;
    }
    lake
}

fn expire(upkeep: &Upkeep, pattern: &str) -> u64 {
    let retention = Retention::new(&[NameRetention { pattern: pattern.into(), days: 7 }]);
    let today = Date::of_millis(NOW);
    let mut rows = 0;
    for partition in upkeep.to_expire(&retention, today).unwrap() {
        let expired = upkeep.expire(&partition, &retention, today, false, &full()).unwrap();
        rows += expired.map_or(0, |expired| expired.rows);
    }
    rows
}

fn erase(lake: &TestLake, numbers: &[u128]) -> u64 {
    let wanted: HashSet<String> = numbers.iter().map(|number| Uuid::from_u128(*number).to_string()).collect();
    let memory = lake.root().join("_memory");
    let erasure = RowErasure {
        selects: &|row| wanted.contains(row.event_uuid),
        admits_type: &|_| true,
        dry_run: false,
        is_quiet: true,
        memory: (&memory, Uuid::from_u128(1)),
        unclaimed: HashSet::new(),
        scratch: lake.root().join("_tmp"),
        stop: StopSignal::default(),
    };
    let mut done = ErasedRows::default();
    erase_rows(&lake.config(), &erasure, &mut done).unwrap();
    done.erased
}

fn compact(upkeep: &Upkeep) -> u64 {
    let request = CompactRequest { filters: Filters::default(), files_max: 2 };
    let partitions = upkeep.to_compact(&request).unwrap();
    let compacted = partitions.iter().filter_map(|partition| upkeep.compact(partition, &request, &full()).unwrap());
    compacted.map(|compacted| compacted.doubles).sum()
}

#[tokio::test]
async fn expiry_erasure_and_compaction_say_how_many_rows_of_which_minute_they_removed() {
    let lake = some_lake().await;
    let written = rows(&lake);
    assert_eq!(listed(&removed(&lake)), []);
    let upkeep = upkeep(&lake);
    assert_eq!(compact(&upkeep), 5);
    assert_accounted(&lake, &written);
    assert_eq!(listed(&removed(&lake)), [1, 2, 3, 4, 5].map(|minute| (minute, [0, 0, 1])), "the first one stays");
    assert_eq!(erase(&lake, &[7_777, 11, 22]), 3);
    assert_accounted(&lake, &written);
    // Whole files of carts, and a part of that of the menus.
    assert_eq!((expire(&upkeep, "cart:*"), expire(&upkeep, "menu:a")), (6, 6));
    assert_accounted(&lake, &written);
    let whole = [
        (0, [1, 1, 0]),
        (1, [1, 1, 1]),
        (2, [1, 0, 1]),
        (3, [1, 1, 1]),
        (4, [1, 0, 1]),
        (5, [2, 0, 1]),
        (6, [1, 0, 0]),
        (7, [1, 0, 0]),
        (8, [1, 0, 0]),
        (9, [1, 0, 0]),
        (10, [1, 0, 0]),
    ];
    assert_eq!(listed(&removed(&lake)), whole);
    let some = lake.reader().removed_by_minute(NOW + 3 * MINUTE + 1..NOW + 5 * MINUTE).unwrap();
    assert_eq!(listed(&some), whole[3..5], "the minutes that the time touches");
    // Nothing is said of what an older version still had.
    let version = lake.table().known().version;
    let older = Lake::open_as_of(&lake.config(), AsOf::Version(version - 1)).unwrap();
    assert!(listed(&older.removed_by_minute(ALWAYS).unwrap()).len() <= whole.len());
    let before = Lake::open_as_of(&lake.config(), AsOf::Version(6)).unwrap();
    assert_eq!(listed(&before.removed_by_minute(ALWAYS).unwrap()), []);
}

#[tokio::test]
async fn the_history_is_known_since_the_table_began_and_nothing_is_without_a_table() {
    let lake = some_lake().await;
    let created = lake.table().history(100).unwrap()[0].committed_millis;
    assert_eq!(removed(&lake).known_since_millis, created);
    let plain = TestLake::without_log();
    plain.write(0, vec![event(1, "menu:a")]).await;
    assert_eq!(erase(&plain, &[1]), 1);
    assert_eq!(plain.reader().removed_by_minute(ALWAYS).unwrap(), RemovedByMinute::default());
}

/// Files of the log and the sums.
fn log_files(lake: &TestLake) -> (usize, Vec<String>) {
    let names = |folder: &str| {
        let entries = fs::read_dir(lake.root().join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let commits = names("_delta_log").iter().filter(|name| name.ends_with(".json")).count();
    (commits, names("_lakegate").into_iter().filter(|name| name.starts_with("removed-rows")).collect())
}

/// Removes all commits that a checkpoint of the newest version covers.
fn clean_log(lake: &TestLake, upkeep: &Upkeep) {
    lake.table().checkpoint().unwrap();
    upkeep.clean_log(-1_000, false, &full()).unwrap();
}

#[tokio::test]
async fn a_commit_of_another_tool_that_removes_rows_is_named_and_the_history_begins_with_it() {
    let lake = some_lake().await;
    let table = lake.table();
    let (version, first) = {
        let known = table.known();
        (known.version, known.files().next().unwrap().clone())
    };
    let change = Change { remove: vec![first], ..Change::new(Operation::Delete, true) };
    let committed = table.commit(&change).unwrap().committed_millis;
    let found = removed(&lake);
    let unrecorded = found.unrecorded.unwrap();
    assert_eq!((unrecorded.version, &*unrecorded.operation), (version + 1, "DELETE"));
    assert_eq!((found.known_since_millis, Some(unrecorded.committed_millis)), (committed, committed));
    // A gateway of before did not say which doubles it dropped.
    let mut old = Change::new(Operation::Optimize, false);
    old.remove = vec![table.known().files().next().unwrap().clone()];
    old.parameters = BTreeMap::from([("doubles".to_owned(), "2".to_owned())]);
    let committed = table.commit(&old).unwrap();
    assert_eq!(removed(&lake).unrecorded.unwrap().version, committed.version);
    // One that dropped none removed nothing.
    old.remove = vec![table.known().files().next().unwrap().clone()];
    old.parameters = BTreeMap::from([("doubles".to_owned(), "0".to_owned())]);
    table.commit(&old).unwrap();
    assert_eq!(removed(&lake).unrecorded.unwrap().version, committed.version);
}

/// Between reading and committing, a flush comes, and then another compaction drops a double.
#[tokio::test]
async fn a_commit_that_is_repeated_counts_what_it_removed_itself() {
    let lake = some_lake().await;
    let (written, table) = (rows(&lake), lake.table());
    let store = Store::for_upkeep(&lake.config()).unwrap();
    let (scratch, pace, upkeep) = (Scratch::new(lake.root().to_owned()), full(), upkeep(&lake));
    let partition = table.known().partitions().map(|(partition, _)| partition.clone()).nth(1).unwrap();
    let expired = |files: &[std::sync::Arc<TableFile>], meanwhile: &dyn Fn()| {
        let rewrite = Rewrite {
            table: &table,
            store: &store,
            scratch: &scratch,
            pace: &pace,
            partition: &partition,
            files,
            must_rewrite: &|_| true,
            drop_doubles: false,
            keep: &|row| row.event_name != "menu:b",
            operation: Operation::Expire,
            data_change: true,
        };
        let merged = rewrite.merge().unwrap().unwrap();
        meanwhile();
        rewrite.commit(merged).unwrap()
    };
    let files = || table.refresh().unwrap().files_of(&partition).to_vec();
    let outdated = expired(&files(), &|| assert_eq!(compact(&upkeep), 5));
    assert!(matches!(outdated, Outcome::Outdated));
    assert_accounted(&lake, &written);
    // The version that it wants is taken by another writer: it takes the next one.
    let other = lake.table();
    let note = Change {
        settings: BTreeMap::from([("lakegate.test".to_owned(), Some("x".to_owned()))]),
        ..Change::new(Operation::SetProperties, false)
    };
    let done = expired(&files(), &|| drop(other.commit(&note).unwrap()));
    let Outcome::Done(done) = done else { panic!() };
    // Twice six, and the one that is left of six doubles.
    assert_eq!(done.not_kept, 13);
    assert_accounted(&lake, &written);
}

#[tokio::test]
async fn rows_of_very_many_minutes_are_told_by_the_hour() {
    let lake = TestLake::new();
    let old = |number: u128| {
        let received_millis = NOW + number as i64 * MINUTE;
        let envelope = Envelope { created_at: created(NOW - 10 * DAY), received_millis, ..envelope(number, "menu:a") };
        record(&envelope, b"{}")
    };
    let minutes = crate::limits::LAKE_REMOVED_MINUTES_MAX as u128 + 1;
    lake.write(0, (0..minutes).map(old).collect()).await;
    assert_eq!(expire(&upkeep(&lake), "*"), minutes as u64);
    let found = removed(&lake);
    assert_eq!(found.minutes, BTreeMap::new());
    assert_eq!(found.spans.iter().map(|span| span.rows).sum::<u64>(), minutes as u64);
    let first = &found.spans[0];
    assert_eq!((first.minutes.clone(), first.why, first.rows), (NOW / MINUTE..NOW / MINUTE + 60, RemovedWhy::Expired, 60));
}

/// Received just now, so that the sums remember it.
async fn fresh_lake() -> (TestLake, i64) {
    let now = crate::event::unix_millis(std::time::SystemTime::now());
    let lake = TestLake::new();
    let at = |number: u128, back: i64| {
        let envelope = Envelope { created_at: created(NOW), received_millis: now - back, ..envelope(number, "menu:a") };
        record(&envelope, b"{}")
    };
    lake.write(0, vec![at(1, 0), at(2, 2 * MINUTE), at(3, 3 * MINUTE), at(4, 40 * DAY)]).await;
    lake.write(4, vec![at(1, MINUTE), at(5, 4 * MINUTE), at(6, 5 * MINUTE)]).await;
    (lake, now)
}

#[tokio::test]
async fn sums_outlive_the_commits_and_forget_what_was_received_long_ago() {
    let (lake, now) = fresh_lake().await;
    let upkeep = upkeep(&lake);
    assert_eq!((erase(&lake, &[2, 4]), compact(&upkeep)), (2, 1));
    upkeep.clean_log(3_600_000, true, &full()).unwrap();
    assert_eq!(log_files(&lake).1, Vec::<String>::new(), "a dry run writes nothing");
    let before = removed(&lake);
    assert_eq!(before.minutes.len(), 3);
    clean_log(&lake, &upkeep);
    assert_eq!((log_files(&lake).0, log_files(&lake).1.len()), (1, 1), "all commits but the newest one are gone");
    let after = removed(&lake);
    let recent = (now - 35 * DAY).div_euclid(MINUTE);
    let kept: BTreeMap<_, _> = before.minutes.clone().into_iter().filter(|(minute, _)| *minute > recent).collect();
    assert_eq!((kept.len(), &after.minutes), (2, &kept));
    assert!(after.known_since_millis >= before.known_since_millis, "{after:?}");
    // It goes on: commits after the sums, and sums of sums and commits.
    assert_eq!(erase(&lake, &[3]), 1);
    let three = removed(&lake);
    assert_eq!(three.minutes.len(), 3);
    clean_log(&lake, &upkeep);
    assert_eq!(removed(&lake).minutes, three.minutes);
    assert_eq!(erase(&lake, &[5]), 1);
    clean_log(&lake, &upkeep);
    assert_eq!(log_files(&lake).1.len(), 2, "those of the version before stay for a reader that began before");
    let all = removed(&lake);
    assert_eq!(all.minutes.values().map(crate::sink::lake::RemovedInMinute::rows).sum::<u64>(), 4);
    assert_eq!(all.unrecorded, None);

    // A copy knows as much, although it has one commit.
    let copy = tempfile::tempdir().unwrap();
    let to = LakeConfig::at(copy.path().join("lake").to_str().unwrap());
    back_up(&lake.config(), &to).unwrap();
    assert_eq!(Lake::open_with(&to).unwrap().removed_by_minute(ALWAYS).unwrap(), all);

    // Without the sums only the commits that are left tell something.
    for name in log_files(&lake).1 {
        fs::remove_file(lake.root().join("_lakegate").join(name)).unwrap();
    }
    let cut = removed(&lake);
    assert_eq!(cut.known_since_millis, lake.table().history(1).unwrap()[0].committed_millis);
    assert!(cut.minutes.len() < all.minutes.len());
}

#[tokio::test]
async fn sums_of_another_table_or_form_are_not_taken() {
    let (lake, _) = fresh_lake().await;
    assert_eq!(erase(&lake, &[2]), 1);
    let upkeep = upkeep(&lake);
    upkeep.clean_log(3_600_000, false, &full()).unwrap();
    let known = removed(&lake);
    let path = lake.root().join("_lakegate").join(&log_files(&lake).1[0]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"why\":\"erased\""), "{text}");
    for (own, other) in
        [(lake.table().known().id().to_owned(), Uuid::from_u128(1).to_string()), ("\"format\":1".into(), "\"format\":2".into())]
    {
        fs::write(&path, text.replace(&own, &other).replace("\"rows\":1", "\"rows\":9").replace(",1]", ",9]")).unwrap();
        assert_eq!(removed(&lake).minutes, known.minutes, "from the commits");
    }
    fs::write(&path, "{").unwrap();
    assert_eq!(removed(&lake).minutes, known.minutes);
    // A commit whose form nobody knows is one that does not say what it removed.
    let newest = lake.root().join(format!("_delta_log/{:020}.json", lake.table().known().version));
    let commit = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, commit.replace("\"stepMinutes\":1", "\"stepMinutes\":\"one\"")).unwrap();
    let found = removed(&lake);
    assert_eq!((found.minutes.len(), found.unrecorded.unwrap().operation), (0, "DELETE".to_owned()));
}
