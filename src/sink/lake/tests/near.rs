//! Finding the rows of an event by what is known of it.

use std::fs::File;

use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use super::*;
use crate::{
    event::Date,
    sink::lake::{Hints, Near},
};

fn near(lake: &TestLake, number: u128, hints: &Hints) -> Near {
    lake.reader().find_near(Uuid::from_u128(number), hints).unwrap()
}

fn numbers(near: &Near) -> Vec<(u64, u64)> {
    near.rows.iter().map(|row| (row.row_group, row.row)).collect()
}

/// Thirty flushes, ten seconds apart, of ten events each on three days.
async fn some_lake() -> TestLake {
    let lake = TestLake::new();
    for flush in 0..30_u64 {
        let of_flush = |event: u128| {
            let name = if event.is_multiple_of(2) { "menu:a" } else { "cart:added" };
            let number = u128::from(flush) * 10 + event;
            let created_at = created(NOW - DAY * i64::try_from(flush % 3).unwrap());
            let received_millis = NOW + i64::try_from(flush).unwrap() * 10_000 + number as i64 % 7;
            record(&Envelope { created_at, received_millis, is_scoped: event == 4, ..envelope(number, name) }, b"{}")
        };
        lake.write(flush * 10, (0..10).map(of_flush).collect()).await;
    }
    lake
}

#[tokio::test]
async fn right_hints_find_the_row_in_the_only_file_that_is_opened() {
    let lake = some_lake().await;
    // The fifth event of flush 17, two days ago.
    let hints = Hints {
        event_type: Some("menu".into()),
        event_name: Some("menu:a".into()),
        received_millis: Some(NOW + 170_000..NOW + 170_010),
        created_dates: vec![Date::of_millis(NOW), Date::of_millis(NOW - 2 * DAY)],
    };
    let found = near(&lake, 174, &hints);
    let [row] = &*found.rows else { panic!("{found:?}") };
    assert_eq!((row.row, row.row_group, found.files_opened), (2, 0, 1), "{found:?}");
    assert_eq!(row.partition.to_string(), "event_type=menu/created_date=2026-11-19");
    assert!(row.file.starts_with(&row.partition.to_string()) && lake.root().join(&row.file).is_file());
    assert_eq!((&*row.event_name, &*row.source, row.dedup_scope.as_deref()), ("menu:a", "web", Some("web")));
    assert_eq!((row.created_millis, row.received_millis), (NOW - 2 * DAY, NOW + 170_000 + 174 % 7));
    let unscoped = near(&lake, 172, &hints);
    assert_eq!((unscoped.rows[0].row, &unscoped.rows[0].dedup_scope), (1, &None));
}

#[tokio::test]
async fn no_hints_find_it_too_and_each_wrong_one_hides_it_without_a_look() {
    let lake = some_lake().await;
    lake.write(300, vec![event(174, "page:seen")]).await;
    assert_eq!(near(&lake, 174, &Hints::default()).rows.len(), 2);
    assert_eq!(near(&lake, 9_999, &Hints::default()).rows, []);
    let wrong = [
        Hints { event_type: Some("other".into()), ..Hints::default() },
        Hints { event_name: Some("menu:b".into()), ..Hints::default() },
        Hints { received_millis: Some(NOW + 1_000_000..NOW + 2_000_000), ..Hints::default() },
        // The day between is not asked for.
        Hints { created_dates: vec![Date::of_millis(NOW - 3 * DAY), Date::of_millis(NOW + DAY)], ..Hints::default() },
    ];
    for hints in wrong {
        let found = near(&lake, 174, &hints);
        assert_eq!((found.rows, found.files_opened), (vec![], 0), "{hints:?}");
    }
    // Without a log the folders and the row groups exclude.
    let plain = TestLake::without_log();
    plain.write(0, vec![event(1, "menu:a"), event(2, "cart:added")]).await;
    assert_eq!(near(&plain, 1, &Hints::default()).rows.len(), 1);
    let later = Hints { received_millis: Some(NOW + 251..i64::MAX), ..Hints::default() };
    assert_eq!(near(&plain, 1, &later).rows, []);
    let other_day = Hints { created_dates: vec![Date::of_millis(NOW - DAY), Date::of_millis(NOW + DAY)], ..Hints::default() };
    assert_eq!(near(&plain, 1, &other_day).rows, []);
}

#[tokio::test]
async fn a_row_is_told_by_its_group_and_its_number_in_the_file() {
    let lake = TestLake::without_log();
    lake.write(0, (0..95).map(|number| received(number, "menu:a", number as i64)).collect()).await;
    let path = lake.files()[0].clone();
    let batch = columns::read(&path).remove(0);
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(groups)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    for number in [0, 9, 10, 57, 94] {
        let expected = (number as u64 / 10, number as u64);
        let hints = Hints { received_millis: Some(NOW + number..NOW + number + 1), ..Hints::default() };
        let found = near(&lake, number as u128, &hints);
        assert_eq!((numbers(&found), found.rows[0].received_millis), (vec![expected], NOW + number));
        let mut places = Vec::new();
        let find = lake.reader().find(Uuid::from_u128(number as u128), &Filters::default(), &mut |place, _| {
            places.push((place.row_group, place.row));
            Ok(())
        });
        assert_eq!((places, find.unwrap()), (vec![expected], vec![]));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_if_the_event_may_be_in_it() {
    let lake = TestLake::new();
    lake.write(0, vec![received(1, "menu:a", 0)]).await;
    lake.write(1, vec![received(2, "menu:a", 10_000)]).await;
    let table = lake.table().known();
    let damaged = table.files().next().unwrap();
    std::fs::write(lake.root().join(&damaged.path), vec![0; damaged.bytes as usize]).unwrap();
    let at = |millis: i64| Hints { received_millis: Some(NOW + millis..NOW + millis + 1), ..Hints::default() };
    assert_eq!(near(&lake, 1, &at(0)).left_out[0].file, damaged.path);
    let other = near(&lake, 2, &at(10_000));
    assert_eq!((other.rows.len(), other.left_out), (1, vec![]));
}
