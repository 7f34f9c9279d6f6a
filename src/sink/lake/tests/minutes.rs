//! Rows by minute of receipt.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    ops::Range,
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, cast::AsArray, types};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use super::*;
use crate::sink::lake::{COLUMNS, CompactRequest, Pace, RowsByMinute, StopSignal, Upkeep};

const MINUTE: i64 = 60_000;
const ALWAYS: Range<i64> = i64::MIN..i64::MAX;

fn count(lake: &TestLake, received: Range<i64>) -> RowsByMinute {
    lake.reader().rows_by_minute(&Filters::default(), received, false).unwrap()
}

/// Minutes after [`NOW`], and their rows.
fn minutes(rows: &RowsByMinute) -> Vec<(i64, u64)> {
    rows.minutes.iter().map(|(minute, rows)| (minute - NOW / MINUTE, *rows)).collect()
}

fn compact(lake: &TestLake) {
    let upkeep = Upkeep::open(&lake.config(), lake.root().to_owned()).unwrap().unwrap();
    let request = CompactRequest { filters: Filters::default(), files_max: 2 };
    for partition in upkeep.to_compact(&request).unwrap() {
        upkeep.compact(&partition, &request, &Pace::full(StopSignal::default())).unwrap().unwrap();
    }
}

/// Twenty flushes of three types: of each, one row comes just before the minute ends and one as the next begins. A late event and
/// one before 1970 are among them.
async fn some_lake(lake: TestLake) -> TestLake {
    for flush in 0..20_u64 {
        let (number, at) = (u128::from(flush) * 10, i64::try_from(flush).unwrap() * MINUTE);
        let late = Envelope {
            created_at: created(NOW - 500 * DAY),
            is_late: true,
            received_millis: NOW + at,
            ..envelope(number + 3, "page:late")
        };
        let records = vec![
            received(number, "menu:a", at + MINUTE - 1),
            received(number + 1, "menu:b", at + MINUTE),
            received(number + 2, "cart:added", at + 30_000),
            record(&late, b"{}"),
        ];
        lake.write(flush * 4, records).await;
    }
    lake.write(80, vec![received(1_000, "old:a", -NOW - 1)]).await;
    lake
}

#[tokio::test]
async fn rows_count_in_the_minute_of_their_receipt_whatever_the_files_and_whenever_they_were_created() {
    // Minute 0 has no `menu:b`, and minute 20 has nothing else.
    let mut expected: Vec<(i64, u64)> = vec![(0, 3)];
    expected.extend((1..20).map(|minute| (minute, 4)));
    expected.push((20, 1));
    expected.insert(0, (-NOW / MINUTE - 1, 1));
    for lake in [some_lake(TestLake::new()).await, some_lake(TestLake::without_log()).await] {
        let found = count(&lake, ALWAYS);
        assert_eq!(minutes(&found), expected);
        assert_eq!((found.version.is_some(), found.left_out.is_empty()), (lake.table == TableFormat::Delta, true));
        assert_eq!(found.files, 61);
        if lake.table == TableFormat::None {
            continue;
        }
        // Late events and carts have a file with one minute each; the other files have two.
        assert_eq!(found.files_opened, 20, "{found:?}");
        compact(&lake);
        let compacted = count(&lake, ALWAYS);
        assert_eq!(minutes(&compacted), expected, "after a compaction");
        assert!(compacted.files < 10 && compacted.rows_decoded > 60, "{compacted:?}");
    }
}

#[tokio::test]
async fn only_files_that_the_time_needs_are_opened_and_a_minute_may_be_cut() {
    let lake = some_lake(TestLake::new()).await;
    let wanted = NOW + 3 * MINUTE + 30_001..NOW + 5 * MINUTE;
    let cut = count(&lake, wanted.clone());
    // Of minute 3 `menu:a`; of minute 4 all.
    assert_eq!(minutes(&cut), [(3, 1), (4, 4)]);
    assert_eq!(cut.files_opened, 2, "{cut:?}");
    // What is not needed is not even there.
    let kept = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let is_same = minutes(&count(&lake, wanted.clone())) == minutes(&cut);
        fs::write(path, bytes).unwrap();
        is_same
    };
    let in_folder =
        |folder: &str| lake.files().into_iter().filter(|path| path.to_str().unwrap().contains(folder)).collect::<Vec<_>>();
    assert!(in_folder("event_type=cart").iter().all(|path| kept(path)), "one minute, so the log knows its rows");
    assert_eq!(in_folder("created_date=2026-11-21").iter().filter(|path| !kept(path)).count(), 2);
    assert_eq!(minutes(&count(&lake, NOW + 100 * MINUTE..i64::MAX)), []);
}

#[tokio::test]
async fn names_are_told_apart_and_filters_choose() {
    let lake = some_lake(TestLake::new()).await;
    for _ in 0..2 {
        let reader = lake.reader();
        let range = NOW + 7 * MINUTE..NOW + 8 * MINUTE;
        let by_name = reader.rows_by_minute(&Filters::default(), range.clone(), true).unwrap();
        let found: Vec<(i64, &str, u64)> =
            by_name.names.iter().map(|((minute, name), rows)| (minute - NOW / MINUTE, &**name, *rows)).collect();
        assert_eq!(found, [(7, "cart:added", 1), (7, "menu:a", 1), (7, "menu:b", 1), (7, "page:late", 1)]);
        assert_eq!(minutes(&by_name), [(7, 4)]);
        for (name, rows) in [("menu:b", 1), ("menu", 0), ("cart:added", 1)] {
            let filters = Filters { event_name: Some(name.to_owned()), ..Filters::default() };
            let counted = reader.rows_by_minute(&filters, range.clone(), false).unwrap();
            assert_eq!(counted.minutes.values().sum::<u64>(), rows, "{name}");
            assert!(counted.names.is_empty());
        }
        compact(&lake);
    }
}

/// As after a compaction by another tool: microseconds, and a few rows in each row group.
#[tokio::test]
async fn other_units_of_time_count_alike_and_row_groups_of_one_minute_are_not_decoded() {
    let lake = TestLake::without_log();
    lake.write(0, (0..90).map(|number| received(number, "menu:a", number as i64 * 2_000)).collect()).await;
    let path = lake.files()[0].clone();
    let batch = columns::read(&path).remove(0);
    let micros = |name: &str, more: i64| {
        let millis = batch.column_by_name(name).unwrap().as_primitive::<types::TimestampMillisecondType>();
        millis.unary::<_, types::TimestampMicrosecondType>(|millis| millis * 1_000 + more)
    };
    let columns: Vec<(&str, ArrayRef)> = COLUMNS
        .into_iter()
        .zip(batch.columns().iter().cloned())
        .map(|(name, column)| match name {
            "created_datetime" => (name, Arc::new(micros(name, 0)) as ArrayRef),
            "received_datetime" => (name, Arc::new(micros(name, 999)) as ArrayRef),
            _ => (name, column),
        })
        .collect();
    let rewritten = RecordBatch::try_from_iter(columns).unwrap();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(20)).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rewritten.schema(), Some(groups)).unwrap();
    writer.write(&rewritten).unwrap();
    writer.close().unwrap();
    let found = count(&lake, ALWAYS);
    assert_eq!(minutes(&found), [(0, 30), (1, 30), (2, 30)]);
    assert_eq!(found.rows_decoded, 20, "only the second of five groups has two minutes");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_with_what_the_log_knows_of_it() {
    let lake = some_lake(TestLake::new()).await;
    compact(&lake);
    let whole = count(&lake, ALWAYS);
    let table = lake.table().known();
    let damaged = table.files().max_by_key(|file| file.statistics.rows).unwrap();
    fs::write(lake.root().join(&damaged.path), vec![0; damaged.bytes as usize]).unwrap();
    let found = count(&lake, ALWAYS);
    let [file] = &*found.left_out else { panic!("{found:?}") };
    assert_eq!((&file.file, file.rows), (&damaged.path, Some(40)));
    assert_eq!(file.received_millis, Some((NOW + MINUTE - 1, NOW + 20 * MINUTE)));
    let rows = |counted: &BTreeMap<i64, u64>| counted.values().sum::<u64>();
    assert_eq!(rows(&found.minutes) + 40, rows(&whole.minutes));
}

#[tokio::test]
async fn an_older_version_is_counted_as_it_was() {
    let lake = TestLake::new();
    lake.write(0, vec![received(1, "menu:a", 0)]).await;
    lake.write(1, vec![received(2, "menu:a", 0)]).await;
    let older = Lake::open_as_of(&lake.config(), crate::sink::lake::AsOf::Version(1)).unwrap();
    assert_eq!(minutes(&older.rows_by_minute(&Filters::default(), ALWAYS, false).unwrap()), [(0, 1)]);
    assert_eq!(minutes(&count(&lake, ALWAYS)), [(0, 2)]);
}
