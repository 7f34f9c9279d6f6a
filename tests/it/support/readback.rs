//! What the gateway left on disk, read without any of its code.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use arrow_array::{Array, StringArray};
use base64::{Engine, engine::general_purpose::STANDARD};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The lake: each event's payload as often as it is in it.
#[derive(Debug, Default)]
pub struct LakeRows {
    pub rows: HashMap<Uuid, Vec<String>>,
    pub files: usize,
}

impl LakeRows {
    /// Reads the files of the table at `root`; without a table every Parquet file, as a query engine would: names that begin with
    /// `_` are passed over.
    pub fn read(root: &Path) -> Self {
        let mut lake = Self::default();
        for file in table_files(root).unwrap_or_else(|| all_files(root)) {
            lake.read_file(&file);
        }
        lake
    }

    /// Reads every Parquet file below `root`, whether or not it belongs to the table.
    pub fn read_all_files(root: &Path) -> Self {
        let mut lake = Self::default();
        all_files(root).iter().for_each(|file| lake.read_file(file));
        lake
    }

    fn read_file(&mut self, path: &Path) {
        let broken = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", path.display()) };
        let file = File::open(path).unwrap_or_else(|error| broken(&error));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap_or_else(|error| broken(&error));
        let columns = ProjectionMask::columns(reader.parquet_schema(), ["event_uuid", "payload"]);
        let reader = reader.with_projection(columns).build().unwrap_or_else(|error| broken(&error));
        for batch in reader {
            let batch = batch.unwrap_or_else(|error| broken(&error));
            let column = |name: &str| {
                let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
                column.cloned().unwrap_or_else(|| broken(&name))
            };
            let (uuids, payloads) = (column("event_uuid"), column("payload"));
            for row in 0..batch.num_rows() {
                let uuid = uuids.value(row).parse().unwrap_or_else(|error| broken(&error));
                self.rows.entry(uuid).or_default().push(payloads.value(row).to_owned());
            }
        }
        self.files += 1;
    }

    /// Panics unless the lake holds exactly the events that `expected` names, each once, and with the bytes `payload` says.
    pub fn assert_exactly(&self, expected: &HashSet<Uuid>, payload: impl Fn(Uuid) -> Vec<u8>) {
        let lost: Vec<_> = expected.iter().filter(|uuid| !self.rows.contains_key(uuid)).collect();
        assert!(
            lost.is_empty(),
            "{} of {} acknowledged events are not in the lake: {:?}",
            lost.len(),
            expected.len(),
            first(&lost)
        );
        let doubled: Vec<_> = self.rows.iter().filter(|(_, payloads)| payloads.len() > 1).map(|(uuid, _)| uuid).collect();
        assert!(doubled.is_empty(), "{} events are in the lake more than once: {:?}", doubled.len(), first(&doubled));
        let strange: Vec<_> = self.rows.keys().filter(|uuid| !expected.contains(uuid)).collect();
        assert!(strange.is_empty(), "{} events are in the lake that nobody was told of: {:?}", strange.len(), first(&strange));
        for (uuid, payloads) in &self.rows {
            let sent = payload(*uuid);
            assert!(
                payloads[0].as_bytes() == sent,
                "{uuid} was sent as\n{}\nand is\n{}",
                String::from_utf8_lossy(&sent),
                payloads[0]
            );
        }
    }
}

pub(super) fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    find(root, "parquet", &mut files);
    files
}

/// The live files by the table's log, which must have all of its commits; `None` if there is no log.
pub(super) fn table_files(root: &Path) -> Option<Vec<PathBuf>> {
    let log = Some(root.join("_delta_log")).filter(|log| log.is_dir())?;
    let mut commits = Vec::new();
    find(&log, "json", &mut commits);
    commits.sort();
    let first = commits.first()?;
    assert!(first.ends_with("00000000000000000000.json"), "the log was cleaned up: {}", first.display());
    let mut live = BTreeSet::new();
    for commit in &commits {
        let text = fs::read_to_string(commit).unwrap_or_else(|error| panic!("{}: {error}", commit.display()));
        for line in text.lines() {
            let action: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", commit.display()));
            if let Some(path) = action["remove"]["path"].as_str() {
                live.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                live.insert(path.to_owned());
            }
        }
    }
    Some(live.iter().map(|path| root.join(path)).collect())
}

fn first<T>(items: &[T]) -> &[T] {
    &items[..items.len().min(5)]
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub line: Value,
    pub raw: Vec<u8>,
    /// How often its event was rejected again, as far as it is noted.
    pub repeats: i64,
}

impl DeadLetter {
    /// Its stable code.
    pub fn code(&self) -> &str {
        self.line["code"].as_str().unwrap_or_default()
    }
}

/// Every dead letter below `root`.
pub fn dead_letters(root: &Path) -> Vec<DeadLetter> {
    let mut files = Vec::new();
    find(root, "ndjson", &mut files);
    let mut letters = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("dead letters are text");
        let repeats = repeats(file.parent().expect("a folder"));
        for line in text.lines() {
            add_letters(line, &file, &repeats, &mut letters);
        }
    }
    letters
}

/// The dead letters in the records of a stream.
pub fn letters_of(record: &[u8]) -> Vec<DeadLetter> {
    let text = std::str::from_utf8(record).expect("dead letters are text");
    let mut letters = Vec::new();
    text.lines().for_each(|line| add_letters(line, Path::new("a stream"), &HashMap::new(), &mut letters));
    letters
}

/// How often each letter was repeated, by its name.
fn repeats(folder: &Path) -> HashMap<String, i64> {
    let text = fs::read_to_string(folder.join("repeats.journal")).unwrap_or_default();
    let entry = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("JSON lines");
        (entry["letter"].as_str().expect("a name").to_owned(), entry["repeats"].as_i64().expect("a number"))
    };
    text.lines().map(entry).collect()
}

/// The name of the letter on `line`.
fn letter_name(line: &str) -> String {
    Sha256::digest(line)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The dead letters in a record of a stream: of each line one, or those that are packed in it.
pub fn letters_of_record(record: &[u8]) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    for line in std::str::from_utf8(record).expect("dead letters are text").lines() {
        add_letters(line, Path::new("a stream"), &HashMap::new(), &mut letters);
    }
    letters
}

fn add_letters(text: &str, file: &Path, repeats: &HashMap<String, i64>, letters: &mut Vec<DeadLetter>) {
    let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}: {text}", file.display()));
    if let Some(frame) = line["zstd"].as_str() {
        let frame = STANDARD.decode(frame).expect("base64");
        let text = String::from_utf8(zstd::decode_all(&frame[..]).expect("zstd")).expect("text");
        assert_eq!(line["unpacked_bytes"], text.len());
        assert_eq!(line["packed_letters"], text.lines().count());
        return text.lines().for_each(|line| add_letters(line, file, repeats, letters));
    }
    let raw = match (line["raw"].as_str(), line["raw_base64"].as_str(), line["raw_head"].as_str()) {
        (Some(raw), None, None) | (None, None, Some(raw)) => raw.as_bytes().to_vec(),
        (None, Some(encoded), None) => STANDARD.decode(encoded).expect("base64"),
        _ => panic!("a letter holds its event once: {line}"),
    };
    let repeats = repeats.get(&letter_name(text)).copied().unwrap_or(0);
    letters.push(DeadLetter { line, raw, repeats });
}

fn find(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('_') {
            continue;
        }
        if path.is_dir() {
            find(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The spool's cursor: up to where all is delivered, and the end of the delivery that had begun. See the format in
/// `src/spool.rs`; `None` where there is no cursor yet.
pub fn cursor(spool: &Path) -> Option<(u64, Option<u64>)> {
    let bytes = fs::read(spool.join("cursor")).ok()?;
    assert_eq!(bytes.len(), 44, "the cursor is replaced whole");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Some((number(24), Some(number(32)).filter(|planned| *planned != u64::MAX)))
}

/// How many files in `folder` end in `suffix`; none where there is no such folder.
pub fn count_files(folder: &Path, suffix: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix)).count()
}

/// The last by name of the files in `folder` that end in `suffix`.
pub fn newest_file(folder: &Path, suffix: &str) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(suffix)).max()
}
