//! The contents of a file.

use std::fs::File;

use arrow_array::{Array, RecordBatch, cast::AsArray, types};
use arrow_schema::{DataType, TimeUnit};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{Compression, LogicalType, TimeUnit as ParquetTimeUnit},
    file::metadata::{ColumnChunkMetaData, RowGroupMetaData},
};
use proptest::prelude::*;

use super::*;
use crate::event::Date;
use crate::limits::LAKE_CHUNK_ROWS;
use crate::sink::lake::{CLIENT_ADDRESS, COLUMNS, DEDUP_SCOPE, Found, LakeRow, Partition, encode, store};

/// Reads a file with only the Parquet crate.
pub(super) fn read(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

fn any_record() -> impl Strategy<Value = Record> {
    let payload = prop_oneof![
        8 => any::<String>().prop_map(|text| serde_json::json!({ "any": text }).to_string()),
        2 => Just(r#"{"a":"\"'\\\u0000 🍜","b":1.10, "c":-0.0e+1}"#.to_owned()),
        1 => (1_000_usize..100_000).prop_map(|length| format!("{{\"big\":\"{}\"}}", "ü".repeat(length))),
    ];
    let name = prop_oneof!["[a-z]{1,3}", "[a-z]{1,3}:[A-Za-z0-9_-]{1,8}", "m:[a-z]:[a-z]:[a-z]"];
    let times = (0..CREATED_MAX, -3 * DAY..400 * DAY);
    let source = proptest::string::string_regex("[\\PC\"'🍜]{1,10}").unwrap();
    let version = proptest::option::of(0..=i32::MAX as u32);
    let address = proptest::option::weighted(0.3, proptest::sample::select(vec!["203.0.113.0", "2001:db8:1::", ""]));
    (any::<u128>(), name, (version, address, any::<bool>()), times, source, payload).prop_map(
        |(uuid, name, (schema_version, client_address, is_scoped), (millis, behind), source, payload)| {
            let envelope = Envelope {
                event_uuid: Uuid::from_u128(uuid),
                schema_version,
                created_at: CreatedAt { seconds: millis as f64 / 1e3 + 0.000_4, millis },
                received_millis: millis + behind,
                source: &source,
                client_address,
                is_scoped,
                ..envelope(0, &name)
            };
            record(&envelope, payload.as_bytes())
        },
    )
}

/// The year 5138, as in `limits.rs`.
const CREATED_MAX: i64 = 100_000_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_column_of_every_record_reads_back_equal(records in prop::collection::vec(any_record(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lake = TestLake::new();
        runtime.block_on(lake.write(0, records.clone()));
        let mut owed: Vec<&Record> = records.iter().collect();
        for path in lake.files() {
            for batch in read(&path) {
                for row in 0..batch.num_rows() {
                    // Files keep the order of the spool within a partition, so the first matching record is the right one.
                    let is_it = |record: &&Record| row_is(&batch, row, record) && path.starts_with(folder_of(&lake, record));
                    let found = owed.iter().position(is_it);
                    prop_assert!(found.is_some(), "row {row} of {} is none of the records", path.display());
                    owed.remove(found.unwrap());
                }
            }
        }
        prop_assert!(owed.is_empty(), "{} records are in no file", owed.len());

        let mut rows = 0;
        lake.reader().export(&Filters::default(), false, &mut |row| {
            let equal = |record: &Record| {
                let envelope = record.envelope();
                (row.event_uuid, row.event_name, row.event_subtype, row.source, row.schema_version, row.payload.as_bytes())
                    == (
                        envelope.event_uuid.to_string().as_str(),
                        envelope.event_name.as_str(),
                        envelope.event_name.event_subtype(),
                        envelope.source,
                        envelope.schema_version.map(|version| version as i32),
                        record.payload(),
                    )
                    && (row.client_address, row.created_at, row.created_millis, row.received_millis)
                        == (envelope.client_address, envelope.created_at.seconds, envelope.created_at.millis, envelope.received_millis)
                    && row.event_type == envelope.event_name.event_type()
                    && row.dedup_scope == envelope.dedup_scope()
            };
            assert!(records.iter().any(equal), "{row:?}");
            rows += 1;
            Ok(())
        }).unwrap();
        prop_assert_eq!(rows, records.len());
    }
}

fn folder_of(lake: &TestLake, record: &Record) -> PathBuf {
    let envelope = record.envelope();
    let date = envelope.created_date();
    lake.root().join(format!("event_type={}/created_date={date}", envelope.event_name.event_type()))
}

fn row_is(batch: &RecordBatch, row: usize, record: &Record) -> bool {
    let envelope = record.envelope();
    let text = |name: &str| {
        let column = batch.column_by_name(name).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let millis = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<types::TimestampMillisecondType>().value(row);
    let version = batch.column_by_name("schema_version").unwrap().as_primitive::<types::Int32Type>();
    let created_at = batch.column_by_name("created_at").unwrap().as_primitive::<types::Float64Type>().value(row);
    text("event_uuid") == Some(envelope.event_uuid.hyphenated().to_string())
        && text("event_name").as_deref() == Some(envelope.event_name.as_str())
        && text("event_subtype").as_deref() == envelope.event_name.event_subtype()
        && text("source").as_deref() == Some(envelope.source)
        && version.is_valid(row).then(|| version.value(row)) == envelope.schema_version.map(|version| version as i32)
        && created_at.to_bits() == envelope.created_at.seconds.to_bits()
        && millis("created_datetime") == envelope.created_at.millis
        && millis("received_datetime") == envelope.received_millis
        && text("payload").map(String::into_bytes).as_deref() == Some(record.payload())
        && batch.column_by_name("client_address").and_then(|_| text("client_address")).as_deref() == envelope.client_address
        && batch.column_by_name("dedup_scope").and_then(|_| text("dedup_scope")).as_deref() == envelope.dedup_scope()
}

#[tokio::test]
async fn the_columns_are_those_of_the_contract_and_the_partition_is_in_none() {
    let lake = TestLake::new();
    lake.write(0, vec![event(1, "menu:item:viewed")]).await;
    let batches = read(&lake.files()[0]);
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let text = DataType::Utf8;
    let types = [&text, &text, &text, &text, &DataType::Int32, &DataType::Float64, &timestamp, &timestamp, &text];
    let schema = batches[0].schema();
    let found: Vec<_> = schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
    assert_eq!(found, COLUMNS.into_iter().zip(types).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_files_of_browser_keys_have_a_column_for_scopes() {
    let lake = TestLake::new();
    let from = |number, is_scoped| record(&Envelope { is_scoped, ..envelope(number, "menu:seen") }, b"{}");
    lake.write(0, vec![from(1, false)]).await;
    lake.write(1, vec![from(2, true), from(3, false)]).await;
    let columns: Vec<usize> = lake.files().iter().map(|file| read(file)[0].num_columns()).collect();
    assert_eq!(columns, [COLUMNS.len(), COLUMNS.len() + 1]);
    assert_eq!(read(&lake.files()[1])[0].schema().field(COLUMNS.len()).name(), DEDUP_SCOPE);
}

#[tokio::test]
async fn only_files_of_events_with_addresses_have_a_column_for_them_and_all_are_read_together() {
    let lake = TestLake::new();
    let from = |number, client_address| record(&Envelope { client_address, ..envelope(number, "menu:seen") }, b"{}");
    lake.write(0, vec![from(1, None)]).await;
    lake.write(1, vec![from(2, Some("203.0.113.0")), from(3, None)]).await;
    let columns: Vec<usize> = lake.files().iter().map(|file| read(file)[0].num_columns()).collect();
    assert_eq!(columns, [COLUMNS.len(), COLUMNS.len() + 1]);
    assert_eq!(read(&lake.files()[1])[0].schema().field(COLUMNS.len()).name(), CLIENT_ADDRESS);
    let mut rows = Vec::new();
    let export = lake.reader().export(&Filters::default(), false, &mut |row| {
        rows.push(row.client_address.map(str::to_owned));
        Ok(())
    });
    assert_eq!(export.unwrap().left_out, []);
    assert_eq!(rows, [None, Some("203.0.113.0".to_owned()), None]);
    let mut found = None;
    let visit = &mut |_: &Found, row: &LakeRow<'_>| {
        found = row.client_address.map(str::to_owned);
        Ok(())
    };
    assert_eq!(lake.reader().find(Uuid::from_u128(2), &Filters::default(), visit).unwrap(), []);
    assert_eq!(found.as_deref(), Some("203.0.113.0"));
}

#[tokio::test]
async fn a_timestamp_has_no_zone_and_the_footer_names_the_stretch() {
    let lake = TestLake::new();
    lake.write(7, vec![event(1, "menu:item:viewed"), event(2, "menu:item:viewed")]).await;
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(&lake.files()[0]).unwrap()).unwrap();
    for column in [6, 7] {
        let logical = file.parquet_schema().column(column).logical_type_ref().cloned();
        assert_eq!(logical, Some(LogicalType::timestamp(false, ParquetTimeUnit::MILLIS)));
    }
    let group = file.metadata().row_group(0);
    let compressed = |group: &RowGroupMetaData| {
        let is_compressed = |column: &&ColumnChunkMetaData| column.compression() != Compression::UNCOMPRESSED;
        group.columns().iter().filter(is_compressed).map(|column| column.column_path().string()).collect::<Vec<_>>()
    };
    assert_eq!(compressed(group), ["payload"], "the file is small");
    assert_eq!(group.column(8).compression(), Compression::SNAPPY);
    for column in [0, 8] {
        assert_eq!(group.column(column).dictionary_page_offset(), None, "no dictionary on uuid and payload");
    }
    let metadata = file.metadata().file_metadata();
    let entries = metadata.key_value_metadata().unwrap();
    let value = |key: &str| entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone()).unwrap();
    assert_eq!(value("lakegate.spool_id"), Uuid::from_u128(1).to_string());
    assert_eq!((value("lakegate.first_seq_inclusive"), value("lakegate.end_seq_exclusive")), ("7".to_owned(), "9".to_owned()));
    assert!(value("lakegate.writer").starts_with("lakegate version "));

    let large = TestLake::new();
    large.write(0, (0..1_000).map(|number| event(number, "menu:item:viewed")).collect()).await;
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(&large.files()[0]).unwrap()).unwrap();
    let group = file.metadata().row_group(0);
    assert_eq!(compressed(group).len(), 9);
    let few = TestLake::new();
    let payload = format!("{{\"note\":\"{}\"}}", "x".repeat(70_000));
    few.write(0, vec![record(&envelope(1, "menu:item:viewed"), payload.as_bytes())]).await;
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(&few.files()[0]).unwrap()).unwrap();
    assert!(matches!(file.metadata().row_group(0).column(8).compression(), Compression::ZSTD(_)), "few rows, but large ones");
    assert!(group.columns().iter().all(|column| matches!(column.compression(), Compression::ZSTD(_))));
}

#[tokio::test]
async fn what_a_column_cannot_hold_is_refused_alone() {
    let lake = TestLake::new();
    let odd_version = record(&Envelope { schema_version: Some(u32::MAX), ..envelope(3, "menu") }, b"{}");
    let records = vec![event(1, "menu"), record(&envelope(2, "menu"), b"{\"a\":\"\xff\"}"), odd_version, event(4, "menu")];
    let only_odd = record(&envelope(5, "other"), b"\xc3");
    let batch = batch(0, [records, vec![only_odd]].concat());
    let deliveries = lake.sink.deliver(&batch).await;
    let refused: Vec<bool> = deliveries.iter().map(|delivery| matches!(delivery, Delivery::Refused(_))).collect();
    assert_eq!(refused, [false, true, true, false, true]);
    assert_eq!((&deliveries[0], &deliveries[3]), (&Delivery::Delivered, &Delivery::Delivered));
    assert_eq!(lake.identities(), uuids([1, 4]));
    assert_eq!(lake.files().len(), 1, "a file without rows is not written");
}

#[test]
fn a_file_of_many_chunks_keeps_every_row_in_order() {
    let rows = LAKE_CHUNK_ROWS * 2 + 1;
    let records: Vec<Record> = (0..rows as u128).map(|number| event(number, "menu")).collect();
    let positions: Vec<usize> = (0..rows).collect();
    let range = encode::SeqRange::of(&batch(0, Vec::new()));
    let encoded = encode::encode(&range, &records, &positions).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store::Store::for_writing(&LakeConfig::at(folder.path().to_str().unwrap())).unwrap();
    let partition = Partition::new("menu", Date { days: 20_778 });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.create(&partition, "a.parquet", encoded.file.unwrap().into())).unwrap();
    let mut next = 0;
    let lake = Lake::open(folder.path().to_str().unwrap()).unwrap();
    lake.export(&Filters::default(), false, &mut |row| {
        assert_eq!(row.event_uuid, Uuid::from_u128(next).to_string());
        next += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(next, rows as u128);
}
