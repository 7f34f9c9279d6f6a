//! The four queries of a reader.

use std::{
    fs::{self, File},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, cast::AsArray, types};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use super::*;
use crate::sink::lake::{COLUMNS, Count, parse_date};

fn filters(event_type: Option<&str>, event_name: Option<&str>, from: Option<&str>, to: Option<&str>) -> Filters {
    Filters {
        event_type: event_type.map(str::to_owned),
        event_name: event_name.map(str::to_owned),
        from_inclusive: from.map(|date| parse_date(date).unwrap()),
        to_inclusive: to.map(|date| parse_date(date).unwrap()),
    }
}

/// Three ranges: menu viewed on three days (one of them in the late folder of an old gateway), menu clicked and cart added
/// today.
async fn some_lake() -> TestLake {
    let lake = TestLake::without_log();
    let first = vec![
        event_at(1, "menu:item:viewed", NOW + 1),
        event_at(2, "menu:item:clicked", NOW + 2),
        event_at(3, "cart:added", NOW + 3),
        event_at(4, "menu:item:viewed", NOW - DAY),
    ];
    lake.write(0, first).await;
    lake.write(4, vec![event_at(5, "menu:item:viewed", NOW + 5)]).await;
    lake.write(5, vec![event_at(6, "menu:item:viewed", NOW - 500 * DAY)]).await;
    let newest = lake.files().pop().unwrap();
    let late = lake.root().join("event_type=menu/created_date=late");
    fs::create_dir(&late).unwrap();
    fs::rename(&newest, late.join(newest.file_name().unwrap())).unwrap();
    assert!(lake.reader().has_late_folders().unwrap());
    lake
}

fn exported(lake: &TestLake, filters: &Filters) -> Vec<Uuid> {
    let mut identities = Vec::new();
    let export = lake.reader().export(filters, false, &mut |row| {
        identities.push(Uuid::parse_str(row.event_uuid).unwrap());
        Ok(())
    });
    let export = export.unwrap();
    assert_eq!((export.rows, export.left_out), (identities.len() as u64, vec![]));
    identities.sort();
    identities
}

#[tokio::test]
async fn ls_says_files_rows_bytes_and_times_of_every_partition() {
    let lake = some_lake().await;
    let listing = lake.reader().ls(&Filters::default()).unwrap();
    let found: Vec<_> = listing
        .partitions
        .iter()
        .map(|p| (p.partition.to_string(), p.files, p.rows, p.oldest_millis.unwrap() - NOW, p.newest_millis.unwrap() - NOW))
        .collect();
    let expected = [
        ("event_type=cart/created_date=2026-11-21", 1, 1, 3, 3),
        ("event_type=menu/created_date=2026-11-20", 1, 1, -DAY, -DAY),
        ("event_type=menu/created_date=2026-11-21", 2, 3, 1, 5),
        ("event_type=menu/created_date=late", 1, 1, -500 * DAY, -500 * DAY),
    ];
    assert_eq!(found, expected.map(|(partition, files, rows, from, to)| (partition.to_owned(), files, rows, from, to)));
    let bytes: u64 = listing.partitions.iter().map(|partition| partition.bytes).sum();
    assert_eq!(bytes, lake.files().iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
}

#[tokio::test]
async fn filters_choose_by_type_name_and_day_also_among_the_late() {
    let lake = some_lake().await;
    let cases = [
        (filters(None, None, None, None), vec![1, 2, 3, 4, 5, 6]),
        (filters(Some("menu"), None, None, None), vec![1, 2, 4, 5, 6]),
        (filters(None, Some("menu:item:viewed"), None, None), vec![1, 4, 5, 6]),
        (filters(Some("cart"), Some("menu:item:viewed"), None, None), vec![]),
        (filters(None, None, Some("2026-11-21"), None), vec![1, 2, 3, 5]),
        (filters(None, None, None, Some("2026-11-20")), vec![4, 6]),
        (filters(None, None, Some("2025-01-01"), Some("2025-12-31")), vec![6]),
        (filters(None, None, Some("2025-07-09"), Some("2025-07-09")), vec![6]),
        (filters(None, None, Some("2025-07-10"), Some("2026-11-20")), vec![4]),
        (filters(None, Some("menu:item"), None, None), vec![]),
    ];
    for (filters, expected) in cases {
        assert_eq!(exported(&lake, &filters), uuids(expected.clone()), "{filters:?}");
        for by_name in [false, true] {
            let counts = lake.reader().count(&filters, by_name).unwrap().counts;
            assert_eq!(counts.iter().map(|count| count.rows).sum::<u64>(), expected.len() as u64, "{filters:?} {by_name}");
        }
    }
}

#[tokio::test]
async fn count_tells_names_apart_where_asked_to() {
    let lake = some_lake().await;
    let counts = |by_name| -> Vec<(String, Option<String>, u64)> {
        let counts = lake.reader().count(&filters(Some("menu"), None, Some("2026-11-21"), None), by_name).unwrap().counts;
        counts.into_iter().map(|Count { partition, event_name, rows }| (partition.created_date, event_name, rows)).collect()
    };
    let today = || "2026-11-21".to_owned();
    assert_eq!(counts(false), [(today(), None, 3)]);
    let (clicked, viewed) = ("menu:item:clicked".to_owned(), "menu:item:viewed".to_owned());
    assert_eq!(counts(true), [(today(), Some(clicked), 1), (today(), Some(viewed), 2)]);
}

#[tokio::test]
async fn find_shows_every_place_of_an_identity_with_its_row() {
    let lake = TestLake::without_log();
    lake.write(0, (0..3_000).map(|number| event(number, "menu")).collect()).await;
    lake.write(3_000, vec![event(7, "cart"), event(3_001, "menu"), event(2_999, "menu")]).await;
    let find = |number| {
        let mut found = Vec::new();
        let left_out = lake.reader().find(Uuid::from_u128(number), &Filters::default(), &mut |place, row| {
            assert_eq!(row.event_uuid, Uuid::from_u128(number).to_string());
            assert_eq!(row.payload, format!(r#"{{"number":{number}}}"#));
            assert!(lake.root().join(&place.file).is_file());
            found.push((row.event_type.to_owned(), place.row));
            Ok(())
        });
        assert_eq!(left_out.unwrap(), []);
        found
    };
    assert_eq!(find(7), [("cart".to_owned(), 0), ("menu".to_owned(), 7)]);
    assert_eq!(find(2_999), [("menu".to_owned(), 2_999), ("menu".to_owned(), 1)]);
    assert_eq!(find(3_000), []);
}

#[tokio::test]
async fn a_name_asked_for_excludes_the_partitions_of_other_types() {
    let lake = some_lake().await;
    let listing = lake.reader().ls(&filters(None, Some("cart:added"), None, None)).unwrap();
    assert_eq!(listing.partitions.len(), 1);
}

/// As after a compaction by another tool: many row groups, other time units, another order, an additional column.
#[tokio::test]
async fn a_file_that_another_tool_rewrote_answers_the_same() {
    let lake = TestLake::without_log();
    lake.write(0, (0..95).map(|number| event_at(number, "menu:seen", NOW + number as i64)).collect()).await;
    let path = lake.files()[0].clone();
    let batch = columns::read(&path).remove(0);
    let micros = |name: &str| {
        let millis = batch.column_by_name(name).unwrap().as_primitive::<types::TimestampMillisecondType>();
        millis.unary::<_, types::TimestampMicrosecondType>(|millis| millis * 1_000)
    };
    let (created, received) = (micros("created_datetime"), micros("received_datetime"));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("file_id", batch.column(4).clone())];
    columns.extend(COLUMNS.into_iter().zip(batch.columns().iter().cloned()));
    for (name, column) in &mut columns {
        match *name {
            "created_datetime" => *column = Arc::new(created.clone()),
            "received_datetime" => *column = Arc::new(received.clone()),
            _ => {}
        }
    }
    columns.reverse();
    let rewritten = RecordBatch::try_from_iter(columns).unwrap();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rewritten.schema(), Some(groups)).unwrap();
    writer.write(&rewritten).unwrap();
    writer.close().unwrap();

    let reader = lake.reader();
    let summary = reader.ls(&Filters::default()).unwrap().partitions.remove(0);
    assert_eq!((summary.rows, summary.oldest_millis, summary.newest_millis), (95, Some(NOW), Some(NOW + 94)));
    for number in [0, 9, 10, 57, 94] {
        let mut found = Vec::new();
        let left_out = reader.find(Uuid::from_u128(number), &Filters::default(), &mut |place, row| {
            found.push((place.row, row.created_millis - NOW, row.event_uuid.to_owned()));
            Ok(())
        });
        assert_eq!(left_out.unwrap(), []);
        assert_eq!(found, [(number as u64, number as i64, Uuid::from_u128(number).to_string())]);
    }
    assert_eq!(exported(&lake, &Filters::default()), uuids(0..95));
}

#[tokio::test]
async fn distinct_hands_over_of_each_event_the_row_first_received() {
    let lake = TestLake::without_log();
    let at = |number, millis, received_millis, source| {
        let envelope = Envelope { created_at: created(millis), received_millis, source, ..envelope(number, "menu") };
        record(&envelope, b"{}")
    };
    lake.write(0, vec![at(1, NOW, NOW + 9, "second"), at(2, NOW, NOW, "only"), at(3, NOW, NOW + 1, "tie")]).await;
    lake.write(3, vec![at(1, NOW, NOW + 5, "first"), at(1, NOW + 1, NOW + 7, "created otherwise"), at(3, NOW, NOW + 1, "tie")])
        .await;
    let mut sources = Vec::new();
    let export = lake.reader().export(&Filters::default(), true, &mut |row| {
        sources.push(row.source.to_owned());
        Ok(())
    });
    assert_eq!(export.unwrap().rows, 4);
    sources.sort();
    assert_eq!(sources, ["created otherwise", "first", "only", "tie"]);
}

#[tokio::test]
async fn distinct_keeps_the_events_of_two_scopes_apart() {
    let lake = TestLake::without_log();
    let from = |source, is_scoped| record(&Envelope { source, is_scoped, ..envelope(1, "menu") }, b"{}");
    lake.write(0, vec![from("page", true), from("other", true), from("service", false)]).await;
    lake.write(3, vec![from("page", true), from("second", false)]).await;
    let mut sources = Vec::new();
    let export = lake.reader().export(&Filters::default(), true, &mut |row| {
        sources.push(row.source.to_owned());
        Ok(())
    });
    assert_eq!(export.unwrap().rows, 3);
    assert_eq!(sources, ["page", "other", "service"]);
}

#[tokio::test]
async fn a_receiver_that_fails_ends_the_export_with_its_own_error() {
    let lake = some_lake().await;
    let mut rows = 0;
    let export = lake.reader().export(&Filters::default(), false, &mut |_| {
        rows += 1;
        Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe))
    });
    assert!(matches!(export, Err(crate::sink::lake::LakeError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe));
    assert_eq!(rows, 1);
}
