//! The typed tables of a lake on disk, read without any code of the gateway.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    path::Path,
};

use arrow_array::{Array, StringArray};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use uuid::Uuid;

use super::readback::{all_files, table_files};

/// How often each event is in the tables, and in which.
#[derive(Debug, Default)]
pub struct TypedRows {
    pub rows: HashMap<Uuid, Vec<String>>,
    /// Rows by table.
    pub tables: BTreeMap<String, usize>,
}

impl TypedRows {
    /// Reads the tables by their logs.
    pub fn read(root: &Path) -> Self {
        Self::read_by(root, &|table| table_files(table).expect("a log"))
    }

    /// Reads every Parquet file below `root`, whether or not a table has it.
    pub fn read_all_files(root: &Path) -> Self {
        Self::read_by(root, &all_files)
    }

    fn read_by(root: &Path, files: &dyn Fn(&Path) -> Vec<std::path::PathBuf>) -> Self {
        let mut typed = Self::default();
        for entry in fs::read_dir(root).expect("typed tables").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('_') {
                continue;
            }
            let before = typed.count();
            files(&entry.path()).iter().for_each(|file| typed.read_file(&name, file));
            typed.tables.insert(name, typed.count() - before);
        }
        typed
    }

    fn count(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    fn read_file(&mut self, table: &str, path: &Path) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("Parquet");
        let columns = ProjectionMask::columns(reader.parquet_schema(), ["event_uuid", "event_name"]);
        for batch in reader.with_projection(columns).build().expect("Parquet").map(|batch| batch.expect("rows")) {
            let column = |name: &str| {
                let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
                column.cloned().expect("a text column")
            };
            let (uuids, names) = (column("event_uuid"), column("event_name"));
            for row in 0..batch.num_rows() {
                assert_eq!(names.value(row).replace([':', '-'], "_"), table, "each name has its table");
                self.rows.entry(uuids.value(row).parse().expect("a UUID")).or_default().push(table.to_owned());
            }
        }
    }

    /// Panics unless the tables hold exactly these events, each once.
    pub fn assert_exactly(&self, expected: &HashSet<Uuid>) {
        let lost: Vec<_> = expected.iter().filter(|uuid| !self.rows.contains_key(uuid)).collect();
        assert!(lost.is_empty(), "{} of {} events are in no typed table: {:?}", lost.len(), expected.len(), lost.first());
        let doubled: Vec<_> = self.rows.iter().filter(|(_, tables)| tables.len() > 1).collect();
        assert!(doubled.is_empty(), "{} events are there more than once: {:?}", doubled.len(), doubled.first());
        let strange: Vec<_> = self.rows.keys().filter(|uuid| !expected.contains(uuid)).collect();
        assert!(strange.is_empty(), "{} events are in typed tables that must not be: {:?}", strange.len(), strange.first());
    }
}
