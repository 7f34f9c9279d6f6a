//! One file: its footer, and its rows and columns on request.

use std::{cell::OnceCell, ops::Range};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, TimeUnit};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
        },
    },
    bloom_filter::Sbbf,
    errors::ParquetError,
    file::{
        metadata::{PageIndexPolicy, RowGroupMetaData},
        statistics::Statistics,
    },
};

use super::filters::{RowFilter, overlaps};
use crate::limits::{LAKE_CHUNK_ROWS, LAKE_READ_BYTES, LAKE_READ_ROWS};
use crate::sink::lake::{
    columns::DEDUP_SCOPE,
    guarded::guarded,
    rows,
    rows::{in_millis, texts},
    store::Source,
    table::FileStatistics,
};

/// Whether a row group may have a wanted row, by the bounds of its `created_at`, and by what its Bloom filter says of an
/// `event_uuid`.
pub(in crate::sink::lake) type MayHave<'a> = dyn FnMut(Option<(f64, f64)>, &dyn Fn(&str) -> bool) -> bool + 'a;

/// A file with its footer read.
pub(in crate::sink::lake) struct LakeFile {
    source: Source,
    footer: ArrowReaderMetadata,
}

impl LakeFile {
    /// Reads the footer. The error says why it is invalid, or does not belong to a file of this lake.
    pub(in crate::sink::lake) fn open(source: Source) -> Result<Self, String> {
        let file = Self::open_unchecked(source)?;
        file.check_columns()?;
        Ok(file)
    }

    /// Reads the footer of any Parquet file.
    pub(in crate::sink::lake) fn open_unchecked(source: Source) -> Result<Self, String> {
        // Ignores arrow's copy of the schema from any writer: strings are then strings, whatever their type in memory.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Skip);
        let footer = guarded(|| ArrowReaderMetadata::load(&source, options).map_err(reason))?;
        Ok(Self { source, footer })
    }

    /// Why the file does not belong to this lake, if it does not.
    pub(super) fn check_columns(&self) -> Result<(), String> {
        rows::check_schema(self.footer.schema())
    }

    /// The columns that the lake does not have.
    pub(in crate::sink::lake) fn extra_columns(&self) -> Vec<&str> {
        rows::extra_columns(self.footer.schema())
    }

    pub(in crate::sink::lake) fn rows(&self) -> u64 {
        self.footer.metadata().file_metadata().num_rows().try_into().unwrap_or(0)
    }

    /// Smallest and largest `created_datetime`, if the statistics have them.
    pub(super) fn created_range(&self) -> Option<(i64, i64)> {
        let ranges = self.footer.metadata().row_groups().iter().map(|group| self.created_range_of(group));
        ranges.reduce(|a, b| Some((a?.0.min(b?.0), a?.1.max(b?.1)))).flatten()
    }

    fn created_range_of(&self, group: &RowGroupMetaData) -> Option<(i64, i64)> {
        self.range_of(group, "created_datetime")
    }

    /// Smallest and largest value of a timestamp column, in milliseconds as its rows are read.
    fn range_of(&self, group: &RowGroupMetaData, column: &str) -> Option<(i64, i64)> {
        let Statistics::Int64(statistics) = self.statistics(group, column)? else { return None };
        let unit = self.unit_of(column)?;
        Some((in_millis(*statistics.min_opt()?, unit), in_millis(*statistics.max_opt()?, unit)))
    }

    fn unit_of(&self, column: &str) -> Option<TimeUnit> {
        match self.footer.schema().field_with_name(column).ok()?.data_type() {
            DataType::Timestamp(unit, _) => Some(*unit),
            _ => None,
        }
    }

    fn statistics<'a>(&self, group: &'a RowGroupMetaData, column: &str) -> Option<&'a Statistics> {
        group.column(self.leaf(column)?).statistics()
    }

    fn leaf(&self, column: &str) -> Option<usize> {
        self.footer.parquet_schema().columns().iter().position(|leaf| leaf.path().parts() == [column])
    }

    /// Row groups in which the statistics do not exclude a matching row.
    fn groups_for(&self, filter: &RowFilter<'_>) -> Vec<usize> {
        let may_pass = |group: &RowGroupMetaData| {
            let by_name = filter.event_name.is_none_or(|name| may_hold(self.statistics(group, "event_name"), name));
            let by_time = match (&filter.created_millis, self.created_range_of(group)) {
                (Some(wanted), Some(found)) => overlaps(wanted, found),
                _ => true,
            };
            by_name && by_time
        };
        self.groups_where(|_, group| may_pass(group))
    }

    fn groups_where(&self, wanted: impl Fn(usize, &RowGroupMetaData) -> bool) -> Vec<usize> {
        let groups = self.footer.metadata().row_groups().iter().enumerate();
        groups.filter(|(index, group)| wanted(*index, group)).map(|(index, _)| index).collect()
    }

    /// Decodes the given columns of the row groups that may match `filter`; the caller checks each row itself.
    pub(super) fn batches(&self, columns: &[&str], filter: &RowFilter<'_>) -> Result<Batches, String> {
        let groups = self.groups_for(filter);
        Batches::of(self.builder(columns).with_row_groups(groups))
    }

    /// Every row with the given columns, in the order of the file: as many at a time as usually have [`LAKE_READ_BYTES`] of
    /// payload, at most `rows_max`.
    pub(in crate::sink::lake) fn every_row(&self, columns: &[&str], rows_max: usize) -> Result<Batches, String> {
        let payload = if columns.contains(&"payload") { self.leaf("payload") } else { None };
        let payload_bytes = |group: &RowGroupMetaData| payload.map_or(0, |leaf| group.column(leaf).uncompressed_size());
        let bytes: i64 = self.footer.metadata().row_groups().iter().map(payload_bytes).sum();
        let usual_bytes = usize::try_from(bytes).unwrap_or(0) / usize::try_from(self.rows()).unwrap_or(0).max(1);
        let rows = (LAKE_READ_BYTES / usual_bytes.max(1)).clamp(1, rows_max);
        Batches::of(self.builder(columns).with_batch_size(rows))
    }

    /// Whether the file has this column.
    pub(in crate::sink::lake) fn has_column(&self, name: &str) -> bool {
        self.footer.schema().field_with_name(name).is_ok()
    }

    /// The given rows, numbered from 0 and ascending, with the given columns.
    pub(super) fn rows_at(&self, columns: &[&str], wanted: &[u64]) -> Result<Batches, String> {
        let ranges = wanted.iter().map(|&row| row as usize..row as usize + 1);
        let selection = guarded(|| Ok(RowSelection::from_consecutive_ranges(ranges, self.rows() as usize)))?;
        Batches::of(self.builder(columns).with_row_selection(selection))
    }

    /// Of each row group the number of rows, and the smallest and largest `received_datetime`, if the statistics have them.
    pub(super) fn received_of_groups(&self) -> Vec<(u64, Option<(i64, i64)>)> {
        let groups = self.footer.metadata().row_groups().iter();
        groups.map(|group| (rows_of(group), self.range_of(group, "received_datetime"))).collect()
    }

    /// The given columns of the given row groups.
    pub(super) fn groups(&self, columns: &[&str], groups: Vec<usize>) -> Result<Batches, String> {
        Batches::of(self.builder(columns).with_row_groups(groups).with_batch_size(LAKE_CHUNK_ROWS))
    }

    /// The given columns of one row.
    pub(super) fn row(&self, columns: &[&str], place: RowPlace) -> Result<Batches, String> {
        let rows = self.footer.metadata().row_groups().get(place.group).map_or(0, rows_of) as usize;
        let at = place.row_in_group as usize;
        let selection = guarded(|| Ok(RowSelection::from_consecutive_ranges(std::iter::once(at..at + 1), rows)))?;
        Batches::of(self.builder(columns).with_row_groups(vec![place.group]).with_row_selection(selection))
    }

    /// The rows with this `event_uuid`. Row groups are left out in which no row was received in `received`.
    pub(super) fn rows_of_uuid(&self, uuid: &str, received: Option<&Range<i64>>) -> Result<Vec<RowPlace>, String> {
        let leaf = self.leaf("event_uuid");
        let builder = self.builder(&["event_uuid"]);
        let may_have = |index: usize, group: &RowGroupMetaData| {
            let of_group = received.and_then(|_| self.range_of(group, "received_datetime"));
            if received.zip(of_group).is_some_and(|(wanted, found)| !overlaps(wanted, found)) {
                return false;
            }
            // An unreadable filter excludes nothing.
            let excluded = || {
                guarded(|| {
                    let filter = leaf.map(|leaf| builder.get_row_group_column_bloom_filter(index, leaf)).transpose();
                    Ok(filter.map_err(reason)?.flatten().is_some_and(|filter| !filter.check(uuid)))
                })
            };
            may_hold(self.statistics(group, "event_uuid"), uuid) && excluded() != Ok(true)
        };
        let groups = self.groups_where(may_have);
        let mut found = Vec::new();
        let mut first_of_group = 0;
        for (index, group) in self.footer.metadata().row_groups().iter().enumerate() {
            if groups.contains(&index) {
                let mut first = 0;
                for batch in Batches::of(self.builder(&["event_uuid"]).with_row_groups(vec![index]))? {
                    let batch = batch?;
                    let uuids = texts(&batch, "event_uuid")?;
                    let rows = (first..).zip(uuids).filter(|(_, value)| *value == Some(uuid));
                    found.extend(rows.map(|(row, _)| RowPlace { row: first_of_group + row, group: index, row_in_group: row }));
                    first += batch.num_rows() as u64;
                }
            }
            first_of_group += rows_of(group);
        }
        Ok(found)
    }

    /// The key columns of the row groups that may have wanted rows; `None` if there are none.
    pub(in crate::sink::lake) fn keys_of_groups(&self, may_have: &mut MayHave<'_>) -> Result<Option<Batches>, String> {
        let builder = self.builder(&["event_uuid", "created_at", "received_datetime", DEDUP_SCOPE]);
        let leaf = self.leaf("event_uuid");
        let mut groups = Vec::new();
        for (index, group) in self.footer.metadata().row_groups().iter().enumerate() {
            let bounds = match self.statistics(group, "created_at") {
                Some(Statistics::Double(bounds)) => bounds.min_opt().copied().zip(bounds.max_opt().copied()),
                _ => None,
            };
            // Read when it is asked for; an unreadable filter excludes nothing.
            let read = || {
                let filter = leaf.map(|leaf| builder.get_row_group_column_bloom_filter(index, leaf)).transpose();
                Ok(filter.map_err(reason)?.flatten())
            };
            let filter = OnceCell::new();
            let has_uuid = |uuid: &str| {
                let filter: &Option<Sbbf> = filter.get_or_init(|| guarded(read).unwrap_or_default());
                filter.as_ref().is_none_or(|filter| filter.check(uuid))
            };
            if may_have(bounds, &has_uuid) {
                groups.push(index);
            }
        }
        if groups.is_empty() {
            return Ok(None);
        }
        Batches::of(builder.with_row_groups(groups).with_batch_size(LAKE_CHUNK_ROWS)).map(Some)
    }

    fn builder(&self, columns: &[&str]) -> ParquetRecordBatchReaderBuilder<Source> {
        let mask = ProjectionMask::columns(self.footer.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.footer.clone())
            .with_projection(mask)
            .with_batch_size(LAKE_READ_ROWS)
    }
}

/// The statistics in the footer of a file of this lake.
///
/// # Errors
/// Why the file cannot be read, or does not belong to this lake.
pub(in crate::sink::lake) fn footer_statistics(source: Source) -> Result<FileStatistics, String> {
    let file = LakeFile::open(source)?;
    let footer = FileStatistics::of_footer(file.footer.metadata());
    // Other tools write other units. A maximum is rounded up.
    let in_millis = |bounds: Option<(i64, i64)>, column: &str| {
        let ((min, max), unit) = bounds.zip(file.unit_of(column))?;
        let (low, high) = (in_millis(min, unit), in_millis(max, unit));
        let is_finer = matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
        Some((low, high.saturating_add(i64::from(is_finer))))
    };
    Ok(FileStatistics {
        created_millis: in_millis(footer.created_millis, "created_datetime"),
        received_millis: in_millis(footer.received_millis, "received_datetime"),
        ..footer
    })
}

/// Where a row is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowPlace {
    /// Its number in the file, from 0.
    pub(super) row: u64,
    /// Its row group, from 0.
    pub(super) group: usize,
    /// Its number in the row group, from 0.
    pub(super) row_in_group: u64,
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Decoded rows in batches; an error ends them.
pub(in crate::sink::lake) struct Batches(Option<ParquetRecordBatchReader>);

impl Batches {
    fn of(builder: ParquetRecordBatchReaderBuilder<Source>) -> Result<Self, String> {
        guarded(|| builder.build().map_err(reason)).map(Some).map(Self)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        // Put back only after success, because the position after an error or a panic is unknown.
        let mut reader = self.0.take()?;
        match guarded(|| reader.next().transpose().map_err(|error| error.to_string())) {
            Ok(Some(batch)) => {
                self.0 = Some(reader);
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(reason) => Some(Err(reason)),
        }
    }
}

/// Whether a text may lie between a column's minimum and maximum; truncated bounds are still bounds.
fn may_hold(statistics: Option<&Statistics>, text: &str) -> bool {
    let Some(Statistics::ByteArray(statistics)) = statistics else { return true };
    statistics.min_opt().is_none_or(|min| min.data() <= text.as_bytes())
        && statistics.max_opt().is_none_or(|max| max.data() >= text.as_bytes())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn reason(error: ParquetError) -> String {
    error.to_string()
}
