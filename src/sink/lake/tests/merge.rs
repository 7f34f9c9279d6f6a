//! Rewriting the files of a partition.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use super::{DAY, NOW, TestLake, created, envelope, event, event_at, record};
use crate::{
    event::Envelope,
    limits::{LAKE_FILE_BYTES_MAX, LAKE_MERGE_KEYS_MAX, LAKE_SORT_BYTES_MAX},
    sink::lake::{
        Filters, LakeConfig,
        merge::{MergeError, MergeInput, MergeRequest, Merged, merge},
        pace::{Pace, StopSignal},
        partition::Partition,
        removed_rows::{MinuteCounts, RemovedWhy},
        row::LakeRow,
        scratch::Scratch,
        store::Store,
    },
};

fn menu() -> Partition {
    Partition { event_type: "menu".into(), created_date: "2026-11-21".into() }
}

/// A merge of a test, with limits that it changes.
struct Merging {
    root: PathBuf,
    store: Store,
    files: Vec<MergeInput>,
    scratch: Scratch,
    pace: Pace,
    file_bytes_max: u64,
    sort_bytes_max: usize,
    keys_max: usize,
}

impl Merging {
    /// All files of `menu` on the day, to be rewritten.
    fn of(lake: &TestLake) -> Self {
        let store = Store::for_reading(&LakeConfig::at(lake.root().to_str().unwrap())).unwrap();
        let files = store.list(&menu().to_string()).unwrap().files;
        Self {
            root: lake.root().to_owned(),
            store,
            files: files
                .into_iter()
                .map(|file| MergeInput { path: format!("{}/{}", menu(), file.name), bytes: file.bytes, rows: 1, rewrite: true })
                .collect(),
            scratch: Scratch::new(lake.root().join("_tmp")),
            pace: Pace::full(StopSignal::default()),
            file_bytes_max: LAKE_FILE_BYTES_MAX,
            sort_bytes_max: LAKE_SORT_BYTES_MAX,
            keys_max: LAKE_MERGE_KEYS_MAX,
        }
    }

    fn with<T>(&self, keep: &dyn Fn(&LakeRow<'_>) -> bool, run: impl FnOnce(&MergeRequest<'_>) -> T) -> T {
        run(&MergeRequest {
            store: &self.store,
            partition: &menu(),
            files: &self.files,
            drop_doubles: true,
            refuse_unknown_columns: true,
            keep,
            file_bytes_max: self.file_bytes_max,
            sort_bytes_max: self.sort_bytes_max,
            keys_max: self.keys_max,
            scratch: &self.scratch,
            pace: &self.pace,
        })
    }

    fn merge(&self) -> Result<Merged, MergeError> {
        self.with(&|_| true, merge)
    }

    /// Merges, and removes what was replaced.
    fn replace(&self) -> Merged {
        let mut merged = self.merge().unwrap();
        merged.publish(&self.store).unwrap();
        for &replaced in &merged.replaced {
            std::fs::remove_file(self.root.join(&self.files[replaced].path)).unwrap();
        }
        merged
    }
}

/// Every row, file by file: name, number of the event, payload.
fn rows(lake: &TestLake) -> Vec<(String, u128, String)> {
    let mut rows = Vec::new();
    let export = lake.reader().export(&Filters::default(), false, &mut |row| {
        let number = uuid::Uuid::parse_str(row.event_uuid).unwrap().as_u128();
        rows.push((row.event_name.to_owned(), number, row.payload.to_owned()));
        Ok(())
    });
    assert_eq!(export.unwrap().left_out, []);
    rows
}

fn leftovers(root: &Path) -> usize {
    root.join("_tmp").read_dir().unwrap().count()
}

#[tokio::test]
async fn files_become_one_that_is_sorted_with_unchanged_payloads_and_only_the_columns_it_needs() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event_at(3, "menu:b", NOW + 2), event_at(2, "menu:b", NOW + 1)]).await;
    let odd = br#"{ "price": 1.50e0, "name": "\u0061bc" }"#;
    lake.write(2, vec![record(&envelope(1, "menu:a"), odd), event_at(4, "menu:b", NOW)]).await;
    let merging = Merging::of(&lake);
    let merged = merging.replace();
    assert_eq!((merged.rows, merged.doubles, merged.not_kept, &*merged.replaced), (4, 0, 0, &[0, 1][..]));
    let found = rows(&lake);
    let order: Vec<u128> = found.iter().map(|(_, number, _)| *number).collect();
    assert_eq!(order, [1, 4, 2, 3]);
    assert_eq!(found[0].2.as_bytes(), odd);
    let [file] = &*lake.files() else { panic!() };
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with("rewritten-"));
    let source = std::fs::File::open(file).unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(source).unwrap();
    let columns = parquet::file::reader::FileReader::metadata(&reader).file_metadata().schema_descr().num_columns();
    assert_eq!(columns, super::super::COLUMNS.len());
    assert_eq!(leftovers(lake.root()), 0);
}

#[tokio::test]
async fn of_each_event_the_row_received_first_stays_in_its_scope() {
    let lake = TestLake::without_log();
    let at = |number, received: i64, scoped: bool, source: &'static str| {
        let envelope = Envelope { received_millis: NOW + received, is_scoped: scoped, source, ..envelope(number, "menu:a") };
        record(&envelope, format!("{received}{source}").as_bytes())
    };
    lake.write(0, vec![at(1, 9, false, "web"), at(2, 5, false, "web"), at(3, 5, true, "page")]).await;
    lake.write(3, vec![at(1, 7, false, "app"), at(2, 6, false, "app"), at(3, 1, true, "other"), at(3, 2, false, "app")]).await;
    // Another time of creation, another event; another name, the same event.
    let renamed = Envelope { received_millis: NOW + 99, ..envelope(2, "menu:z") };
    lake.write(7, vec![event_at(1, "menu:a", NOW + 1), record(&renamed, b"renamed")]).await;
    let merged = Merging::of(&lake).replace();
    assert_eq!((merged.rows, merged.doubles), (6, 3));
    let mut payloads: Vec<String> = rows(&lake).into_iter().map(|(_, _, payload)| payload).collect();
    payloads.sort();
    assert_eq!(payloads, ["1other", "2app", "5page", "5web", "7app", "{}"]);
    // The view of a lake before it finds the same rows.
    assert_eq!(lake.reader().export(&Filters::default(), true, &mut |_| Ok(())).unwrap().rows, 6);
}

/// A good file stays, unless it has a double.
#[tokio::test]
async fn a_file_that_need_not_be_rewritten_is_only_if_it_has_doubles() {
    let lake = TestLake::without_log();
    let early = |number| record(&Envelope { received_millis: NOW - 5, ..envelope(number, "menu:a") }, b"early");
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:a")]).await;
    lake.write(2, vec![event(3, "menu:a")]).await;
    lake.write(3, vec![early(3), event(2, "menu:a")]).await;
    let mut merging = Merging::of(&lake);
    merging.files[0].rewrite = false;
    merging.files[1].rewrite = false;
    let merged = merging.replace();
    assert_eq!((&*merged.replaced, merged.rows, merged.doubles), (&[1, 2][..], 1, 2));
    assert_eq!(lake.identities(), super::uuids([1, 2, 3]));
    assert!(rows(&lake).contains(&("menu:a".to_owned(), 3, "early".to_owned())));
}

#[tokio::test]
async fn rows_that_are_not_kept_are_gone_and_a_merge_without_rows_writes_no_file() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:b"), event(3, "menu:a")]).await;
    let merging = Merging::of(&lake);
    let mut merged = merging.with(&|row| row.event_name == "menu:b", merge).unwrap();
    assert_eq!((merged.rows, merged.not_kept), (1, 2));
    assert_eq!(merged.publish(&merging.store).unwrap().len(), 1);
    let mut none = merging.with(&|_| false, merge).unwrap();
    assert_eq!((none.rows, none.not_kept, &*none.replaced), (0, 3, &[0][..]));
    assert_eq!(none.publish(&merging.store).unwrap().len(), 0);
}

#[tokio::test]
async fn large_partitions_are_sorted_in_runs_and_written_into_several_files_of_one_size() {
    let lake = TestLake::without_log();
    let payload: String = (0..2_000).map(|_| fastrand::alphanumeric()).collect();
    for flush in 0..20_u64 {
        let records = (0..50).map(|event| {
            let number = u128::from(flush) * 50 + event;
            let envelope = Envelope { created_at: created(NOW + (number as i64 * 7_919) % DAY), ..envelope(number, "menu:a") };
            record(&envelope, format!("\"{}{number}\"", &payload[event as usize..]).as_bytes())
        });
        lake.write(flush * 50, records.collect()).await;
    }
    let bytes: u64 = lake.files().iter().map(|file| file.metadata().unwrap().len()).sum();
    let mut merging = Merging::of(&lake);
    merging.sort_bytes_max = 10_000;
    merging.file_bytes_max = bytes / 3;
    let merged = merging.replace();
    assert_eq!((merged.rows, merged.replaced.len()), (1_000, 20));
    assert_eq!(lake.identities(), super::uuids(0..1_000));
    for file in lake.files() {
        assert!(file.metadata().unwrap().len() < 2 * merging.file_bytes_max, "{file:?}");
    }
    assert_eq!(leftovers(lake.root()), 0);
}

/// With few keys in memory they are spread over bins, and read before the rows.
#[tokio::test]
async fn doubles_are_found_with_few_keys_in_memory_as_with_many_also_of_an_event_that_is_there_very_often() {
    let mut found = Vec::new();
    // A file that would stay as it is has doubles too, the first rows or later ones.
    for (keys_max, stays) in [(1_000, None), (8, None), (1_000, Some(0)), (8, Some(0)), (1_000, Some(9)), (8, Some(9))] {
        let lake = TestLake::without_log();
        for flush in 0..10_u64 {
            let often = || event(0, "menu:a");
            let records =
                (0..100).map(|number| if number % 2 == 0 { event(u128::from(number + flush % 3), "menu:a") } else { often() });
            lake.write(flush * 100, records.collect()).await;
        }
        let mut merging = Merging::of(&lake);
        merging.keys_max = keys_max;
        for (position, file) in merging.files.iter_mut().enumerate() {
            (file.rows, file.rewrite) = (100, stays != Some(position));
        }
        let merged = merging.with(&|row| !row.event_uuid.ends_with('4'), merge).unwrap();
        let events = lake.identities();
        found.push((stays, merged.rows, merged.doubles, merged.not_kept, merged.replaced.len()));
        assert_eq!(events.len(), 1_000, "nothing is published");
        let counted = |counts: &MinuteCounts| counts.removed(RemovedWhy::Doubles).map_or(0, |removed| removed.rows);
        let by_minute = (counted(&merged.gone.doubles), counted(&merged.gone.not_kept));
        assert_eq!(by_minute, (merged.doubles, merged.not_kept), "{keys_max} {stays:?}");
    }
    let different = 101;
    for pair in found.chunks(2) {
        assert_eq!(pair[0], pair[1]);
        let (_, rows, doubles, not_kept, replaced) = pair[0];
        assert_eq!((doubles, replaced), (1_000 - different, 10));
        assert!(not_kept > 0 && rows + not_kept == different, "{pair:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_left_alone_and_hides_no_event() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu:a"), event(2, "menu:a")]).await;
    lake.write(2, vec![event(1, "menu:a"), event(3, "menu:a")]).await;
    // Whole up to its payloads: the keys can still be read.
    let damaged = lake.files()[0].clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let source = bytes::Bytes::from(bytes.clone());
    let reader = parquet::file::reader::SerializedFileReader::new(source).unwrap();
    let footer = parquet::file::reader::FileReader::metadata(&reader).row_group(0).clone();
    let (start, length) = footer.column(8).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    std::fs::write(&damaged, &bytes).unwrap();
    std::fs::write(damaged.with_file_name("notes.parquet"), b"no such file").unwrap();
    let merging = Merging::of(&lake);
    let mut merged = merging.merge().unwrap();
    assert_eq!((merged.rows, merged.doubles, merged.left_out.len()), (2, 0, 2), "{:?}", merged.left_out);
    assert_eq!(&*merged.replaced, [1]);
    assert_eq!(merged.publish(&merging.store).unwrap().len(), 1);
    assert_eq!(std::fs::read(&damaged).unwrap(), bytes);
}

#[tokio::test]
async fn a_merge_that_is_stopped_or_loses_a_file_leaves_nothing() {
    let lake = TestLake::without_log();
    lake.write(0, vec![event(1, "menu:a")]).await;
    lake.write(1, vec![event(2, "menu:a")]).await;
    let mut merging = Merging::of(&lake);
    let stop = StopSignal::default();
    merging.pace = Pace::full(stop.clone());
    let seen = Cell::new(0);
    let stopped = merging.with(
        &|_| {
            seen.set(seen.get() + 1);
            stop.stop();
            true
        },
        merge,
    );
    assert!(matches!(stopped, Err(MergeError::Stopped)));
    assert_eq!(seen.get(), 1);
    merging.pace = Pace::full(StopSignal::default());
    drop(merging.merge().unwrap());
    std::fs::remove_file(&lake.files()[1]).unwrap();
    assert!(matches!(merging.merge(), Err(MergeError::Gone(_))));
    assert_eq!((leftovers(lake.root()), lake.files().len()), (0, 1));
}
