//! The columns of a checkpoint: one struct per kind of action; in each row one of them is not null.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder},
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use arrow_schema::{ArrowError, Field, Fields, Schema};

use super::actions::{Add, Format, Line, Metadata, Protocol, Remove, Txn};

/// Builds the rows of a checkpoint.
pub(super) fn batch_of(lines: &[Line]) -> Result<RecordBatch, ArrowError> {
    let columns = [
        ("txn", txns(lines)?),
        ("add", adds(lines)?),
        ("remove", removes(lines)?),
        ("metaData", metadata(lines)?),
        ("protocol", protocols(lines)?),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, array)| Arc::new(array) as ArrayRef).collect(),
    )
}

/// Reads the rows of a checkpoint of any writer; columns that are missing are null.
pub(super) fn lines_of(batch: &RecordBatch) -> Vec<Line> {
    let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_struct_opt());
    let (txn, add, remove) = (column("txn"), column("add"), column("remove"));
    let (meta_data, protocol) = (column("metaData"), column("protocol"));
    let line = |row: usize| Line {
        commit_info: None,
        protocol: at(protocol, row).and_then(protocol_at),
        meta_data: at(meta_data, row).and_then(metadata_at),
        txn: at(txn, row).and_then(txn_at),
        add: at(add, row).and_then(add_at),
        remove: at(remove, row).and_then(remove_at),
    };
    (0..batch.num_rows()).map(line).collect()
}

fn adds(lines: &[Line]) -> Result<StructArray, ArrowError> {
    let rows: Vec<Option<&Add>> = lines.iter().map(|line| line.add.as_ref()).collect();
    structs(
        &rows,
        vec![
            ("path", texts(&rows, |add| Some(&add.path))),
            ("partitionValues", maps(&rows, |add| Some(&add.partition_values))?),
            ("size", longs(&rows, |add| Some(add.size))),
            ("modificationTime", longs(&rows, |add| Some(add.modification_time))),
            ("dataChange", flags(&rows, |_| Some(false))),
            ("tags", maps(&rows, |add| add.tags.as_ref())?),
            ("stats", texts(&rows, |add| add.stats.as_deref())),
        ],
    )
}

fn removes(lines: &[Line]) -> Result<StructArray, ArrowError> {
    let rows: Vec<Option<&Remove>> = lines.iter().map(|line| line.remove.as_ref()).collect();
    structs(
        &rows,
        vec![
            ("path", texts(&rows, |remove| Some(&remove.path))),
            ("deletionTimestamp", longs(&rows, |remove| remove.deletion_timestamp)),
            ("dataChange", flags(&rows, |remove| Some(remove.data_change))),
            ("extendedFileMetadata", flags(&rows, |remove| remove.extended_file_metadata)),
            ("partitionValues", maps(&rows, |remove| remove.partition_values.as_ref())?),
            ("size", longs(&rows, |remove| remove.size)),
        ],
    )
}

fn txns(lines: &[Line]) -> Result<StructArray, ArrowError> {
    let rows: Vec<Option<&Txn>> = lines.iter().map(|line| line.txn.as_ref()).collect();
    structs(
        &rows,
        vec![
            ("appId", texts(&rows, |txn| Some(&txn.app_id))),
            ("version", longs(&rows, |txn| Some(txn.version))),
            ("lastUpdated", longs(&rows, |txn| txn.last_updated)),
        ],
    )
}

fn protocols(lines: &[Line]) -> Result<StructArray, ArrowError> {
    let rows: Vec<Option<&Protocol>> = lines.iter().map(|line| line.protocol.as_ref()).collect();
    let ints = |value: fn(&Protocol) -> i32| Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.map(value)))) as ArrayRef;
    structs(
        &rows,
        vec![
            ("minReaderVersion", ints(|protocol| protocol.min_reader_version)),
            ("minWriterVersion", ints(|protocol| protocol.min_writer_version)),
            ("readerFeatures", lists(&rows, |protocol| protocol.reader_features.as_ref())),
            ("writerFeatures", lists(&rows, |protocol| protocol.writer_features.as_ref())),
        ],
    )
}

fn metadata(lines: &[Line]) -> Result<StructArray, ArrowError> {
    let rows: Vec<Option<&Metadata>> = lines.iter().map(|line| line.meta_data.as_ref()).collect();
    let formats: Vec<Option<&Format>> = rows.iter().map(|row| row.map(|metadata| &metadata.format)).collect();
    let format = structs(
        &formats,
        vec![
            ("provider", texts(&formats, |format| Some(&format.provider))),
            ("options", plain_maps(&formats, |format| &format.options)?),
        ],
    )?;
    structs(
        &rows,
        vec![
            ("id", texts(&rows, |metadata| Some(&metadata.id))),
            ("name", texts(&rows, |metadata| metadata.name.as_deref())),
            ("description", texts(&rows, |metadata| metadata.description.as_deref())),
            ("format", Arc::new(format)),
            ("schemaString", texts(&rows, |metadata| Some(&metadata.schema_string))),
            ("partitionColumns", lists(&rows, |metadata| Some(&metadata.partition_columns))),
            ("configuration", plain_maps(&rows, |metadata| &metadata.configuration)?),
            ("createdTime", longs(&rows, |metadata| metadata.created_time)),
        ],
    )
}

fn structs<T>(rows: &[Option<&T>], columns: Vec<(&str, ArrayRef)>) -> Result<StructArray, ArrowError> {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let fields: Fields = columns.iter().map(field).collect();
    let valid = rows.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    StructArray::try_new(fields, columns.into_iter().map(|(_, array)| array).collect(), Some(valid))
}

fn texts<'a, T>(rows: &[Option<&'a T>], value: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter(rows.iter().map(|row| row.and_then(&value))))
}

fn longs<T>(rows: &[Option<&T>], value: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.and_then(&value))))
}

fn flags<T>(rows: &[Option<&T>], value: impl Fn(&T) -> Option<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.and_then(&value))))
}

fn lists<'a, T>(rows: &[Option<&'a T>], value: impl Fn(&'a T) -> Option<&'a Vec<String>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let list = row.and_then(&value);
        list.into_iter().flatten().for_each(|text| builder.values().append_value(text));
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

fn maps<'a, T>(
    rows: &[Option<&'a T>],
    value: impl Fn(&'a T) -> Option<&'a BTreeMap<String, Option<String>>>,
) -> Result<ArrayRef, ArrowError> {
    let entries =
        |map: &'a BTreeMap<String, Option<String>>| map.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    map_array(rows.iter().map(|row| row.and_then(&value).map(entries)))
}

fn plain_maps<'a, T>(
    rows: &[Option<&'a T>],
    value: impl Fn(&'a T) -> &'a BTreeMap<String, String>,
) -> Result<ArrayRef, ArrowError> {
    let entries =
        |map: &'a BTreeMap<String, String>| map.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
    map_array(rows.iter().map(|row| row.map(|row| entries(value(row)))))
}

fn map_array<'a>(rows: impl Iterator<Item = Option<Vec<(&'a str, Option<&'a str>)>>>) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.iter().flatten() {
            builder.keys().append_value(key);
            builder.values().append_option(*value);
        }
        builder.append(row.is_some())?;
    }
    Ok(Arc::new(builder.finish()))
}

/// A struct's row.
struct Row<'a> {
    columns: &'a StructArray,
    row: usize,
}

fn at(columns: Option<&StructArray>, row: usize) -> Option<Row<'_>> {
    columns.filter(|columns| columns.is_valid(row)).map(|columns| Row { columns, row })
}

impl Row<'_> {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.columns.column_by_name(name).filter(|column| column.is_valid(self.row))
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(self.column(name)?.as_string_opt::<i32>()?.value(self.row).to_owned())
    }

    fn long(&self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive_opt::<Int64Type>()?.value(self.row))
    }

    fn int(&self, name: &str) -> Option<i32> {
        Some(self.column(name)?.as_primitive_opt::<Int32Type>()?.value(self.row))
    }

    fn flag(&self, name: &str) -> Option<bool> {
        Some(self.column(name)?.as_boolean_opt()?.value(self.row))
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        let column: &ListArray = self.column(name)?.as_list_opt()?;
        let values = column.value(self.row);
        Some(values.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
    }

    fn map(&self, name: &str) -> Option<BTreeMap<String, Option<String>>> {
        let column: &MapArray = self.column(name)?.as_map_opt()?;
        let entries = column.value(self.row);
        let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
        let entry = |(key, value): (Option<&str>, Option<&str>)| Some((key?.to_owned(), value.map(str::to_owned)));
        keys.iter().zip(values).map(entry).collect()
    }

    fn plain_map(&self, name: &str) -> Option<BTreeMap<String, String>> {
        Some(self.map(name)?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    fn struct_row(&self, name: &str) -> Option<Row<'_>> {
        at(self.column(name)?.as_struct_opt(), self.row)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for and_then")]
fn add_at(row: Row<'_>) -> Option<Add> {
    Some(Add {
        path: row.text("path")?,
        partition_values: row.map("partitionValues")?,
        size: row.long("size")?,
        modification_time: row.long("modificationTime")?,
        data_change: false,
        stats: row.text("stats"),
        tags: row.map("tags"),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for and_then")]
fn remove_at(row: Row<'_>) -> Option<Remove> {
    Some(Remove {
        path: row.text("path")?,
        deletion_timestamp: row.long("deletionTimestamp"),
        data_change: row.flag("dataChange").unwrap_or_default(),
        extended_file_metadata: row.flag("extendedFileMetadata"),
        partition_values: row.map("partitionValues"),
        size: row.long("size"),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for and_then")]
fn txn_at(row: Row<'_>) -> Option<Txn> {
    Some(Txn { app_id: row.text("appId")?, version: row.long("version")?, last_updated: row.long("lastUpdated") })
}

#[allow(clippy::needless_pass_by_value, reason = "for and_then")]
fn protocol_at(row: Row<'_>) -> Option<Protocol> {
    Some(Protocol {
        min_reader_version: row.int("minReaderVersion")?,
        min_writer_version: row.int("minWriterVersion")?,
        reader_features: row.list("readerFeatures"),
        writer_features: row.list("writerFeatures"),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for and_then")]
fn metadata_at(row: Row<'_>) -> Option<Metadata> {
    let format = row.struct_row("format");
    let format = format.and_then(|format| {
        Some(Format { provider: format.text("provider")?, options: format.plain_map("options").unwrap_or_default() })
    });
    Some(Metadata {
        id: row.text("id")?,
        name: row.text("name"),
        description: row.text("description"),
        format: format.unwrap_or_default(),
        schema_string: row.text("schemaString")?,
        partition_columns: row.list("partitionColumns")?,
        configuration: row.plain_map("configuration").unwrap_or_default(),
        created_time: row.long("createdTime"),
    })
}
