//! Sorts rows by `event_name` and `created_at` in bounded memory: a buffer of rows is sorted, and written to a scratch file as
//! a run when it is full; in the end the runs are merged. Rows that are equal stay in the order in which they came.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    mem,
    os::unix::fs::FileExt,
    sync::Arc,
};

use super::{
    request::MergeError,
    row_bytes::{self, LENGTH_BYTES, Origin},
};
use crate::{
    limits::{LAKE_MERGE_RUN_BUFFER_BYTES, LAKE_MERGE_RUNS_MAX, LAKE_SORT_SAMPLED_ROWS},
    sink::lake::{pace::Pace, rows::LakeRow, scratch::Scratch},
};

/// Rows to sort.
pub(super) struct Sorter<'a> {
    scratch: &'a Scratch,
    pace: &'a Pace,
    /// Bytes of rows in memory.
    bytes_max: usize,
    /// Rows that will come, as far as is known; 0 if it is not.
    rows_expected: usize,
    rows: Vec<u8>,
    /// Where each row begins in `rows`.
    starts: Vec<usize>,
    /// Sorted runs: those of the buffer first, those that were merged from others after them.
    levels: Vec<Vec<Run>>,
    /// The scratch file of the newest runs, and its length.
    file: Option<(Arc<File>, u64)>,
}

/// Sorted rows in a scratch file, oldest rows first among equals.
#[derive(Clone)]
struct Run {
    file: Arc<File>,
    start: u64,
    end: u64,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(scratch: &'a Scratch, pace: &'a Pace, bytes_max: usize, rows_expected: usize) -> Self {
        let levels = vec![Vec::new()];
        Self { scratch, pace, bytes_max, rows_expected, rows: Vec::new(), starts: Vec::new(), levels, file: None }
    }

    /// Bytes of the rows in memory.
    pub(super) fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// Makes room for all rows, as if they were as long as the first ones. Grown step by step, the buffer would be copied again and
    /// again.
    fn make_room(&mut self) {
        let row_bytes = self.rows.len() / LAKE_SORT_SAMPLED_ROWS;
        let rows = self.rows_expected.min(self.bytes_max / row_bytes.max(1));
        // An eighth more, because lengths vary.
        let bytes = (row_bytes * rows * 9 / 8).min(self.bytes_max);
        self.rows.reserve(bytes.saturating_sub(self.rows.len()));
        self.starts.reserve(rows.saturating_sub(self.starts.len()));
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &LakeRow<'_>, origin: Origin) -> Result<(), MergeError> {
        self.starts.push(self.rows.len());
        row_bytes::write(row, origin, &mut self.rows);
        if self.starts.len() == LAKE_SORT_SAMPLED_ROWS && self.levels[0].is_empty() {
            self.make_room();
        }
        if self.rows.len() + self.starts.len() * size_of::<usize>() >= self.bytes_max { self.spill() } else { Ok(()) }
    }

    /// Passes every row, sorted, to `each`.
    pub(super) fn finish(mut self, mut each: impl FnMut(&[u8]) -> Result<(), MergeError>) -> Result<(), MergeError> {
        if self.levels.iter().all(Vec::is_empty) {
            self.sort()?;
            return self.starts.iter().try_for_each(|start| each(row_bytes::first(&self.rows[*start..])?));
        }
        self.spill()?;
        (self.rows, self.starts) = (Vec::new(), Vec::new());
        // The most merged runs have the oldest rows.
        let runs: Vec<Run> = mem::take(&mut self.levels).into_iter().rev().flatten().collect();
        merge(&runs, each)
    }

    fn sort(&mut self) -> io::Result<()> {
        let rows = &self.rows;
        let keyed = self.starts.iter().map(|&start| Ok((row_bytes::sort_key(row_bytes::first(&rows[start..])?)?, start)));
        let mut keyed = keyed.collect::<io::Result<Vec<_>>>()?;
        keyed.sort_unstable_by(|(a, first), (b, second)| order(*a, *b).then(first.cmp(second)));
        self.starts = keyed.into_iter().map(|(_, start)| start).collect();
        Ok(())
    }

    /// Writes the buffer as a run.
    fn spill(&mut self) -> Result<(), MergeError> {
        if self.starts.is_empty() {
            return Ok(());
        }
        self.sort()?;
        let (file, start) = self.scratch_file()?;
        let mut writer = BufWriter::with_capacity(LAKE_MERGE_RUN_BUFFER_BYTES, &*file);
        for start in &self.starts {
            let row = row_bytes::first(&self.rows[*start..])?;
            writer.write_all(&self.rows[*start..*start + LENGTH_BYTES + row.len()])?;
        }
        writer.flush()?;
        drop(writer);
        let end = start + self.rows.len() as u64;
        self.keep(0, file, start, end);
        self.rows.clear();
        self.starts.clear();
        self.merge_full_levels()
    }

    fn scratch_file(&mut self) -> io::Result<(Arc<File>, u64)> {
        if self.file.is_none() {
            self.file = Some((Arc::new(self.scratch.file()?), 0));
        }
        self.file.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn keep(&mut self, level: usize, file: Arc<File>, start: u64, end: u64) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(Run { file: file.clone(), start, end });
        self.file = Some((file, end));
    }

    /// Merges the runs of a level that has many, so that few are open at one time.
    fn merge_full_levels(&mut self) -> Result<(), MergeError> {
        for level in 0.. {
            if self.levels.get(level).is_none_or(|runs| runs.len() < LAKE_MERGE_RUNS_MAX) {
                return Ok(());
            }
            let runs = mem::take(&mut self.levels[level]);
            // A file of its own, so that the space of the merged runs is free when the last of them is.
            let file = Arc::new(self.scratch.file()?);
            let mut writer = BufWriter::with_capacity(LAKE_MERGE_RUN_BUFFER_BYTES, &*file);
            let (mut end, pace) = (0, self.pace);
            let mut steps = 0;
            merge(&runs, |row| {
                writer.write_all(&(row.len() as u32).to_le_bytes())?;
                writer.write_all(row)?;
                end += (LENGTH_BYTES + row.len()) as u64;
                steps += 1;
                if steps % 1_024 == 0 { Ok(pace.step()?) } else { Ok(()) }
            })?;
            writer.flush()?;
            drop(writer);
            self.keep(level + 1, file, 0, end);
            self.file = None;
        }
        Ok(())
    }
}

fn order(a: (&[u8], f64), b: (&[u8], f64)) -> Ordering {
    a.0.cmp(b.0).then_with(|| a.1.total_cmp(&b.1))
}

/// Passes the rows of sorted runs, sorted, to `each`. Of equal rows those of the first run come first.
fn merge(runs: &[Run], mut each: impl FnMut(&[u8]) -> Result<(), MergeError>) -> Result<(), MergeError> {
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let section = Section { file: Arc::clone(&run.file), at: run.start, end: run.end };
        let reader = BufReader::with_capacity(LAKE_MERGE_RUN_BUFFER_BYTES, section);
        heads.extend(Head::next(reader, number, Vec::new())?);
    }
    let mut row = Vec::new();
    while let Some(mut head) = heads.pop() {
        row.clear();
        row.extend(&head.start);
        // Only now is the whole row in memory: that of one run, not of all.
        let rest = head.length - head.start.len();
        let read = head.reader.by_ref().take(rest as u64).read_to_end(&mut row)?;
        if read < rest {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        each(&row)?;
        heads.extend(Head::next(head.reader, head.run, head.start)?);
    }
    Ok(())
}

/// The next row of a run: its length, and its bytes up to the end of the sort key.
struct Head {
    reader: BufReader<Section>,
    run: usize,
    length: usize,
    start: Vec<u8>,
}

impl Head {
    /// `None` at the end of the run.
    fn next(mut reader: BufReader<Section>, run: usize, mut start: Vec<u8>) -> io::Result<Option<Self>> {
        if reader.buffer().is_empty() && reader.get_ref().is_at_end() {
            return Ok(None);
        }
        let mut number = [0; LENGTH_BYTES];
        reader.read_exact(&mut number)?;
        let length = u32::from_le_bytes(number) as usize;
        // The length of the name, the name, created_at: see `row_bytes`.
        reader.read_exact(&mut number)?;
        start.clear();
        start.extend(number);
        let key = u32::from_le_bytes(number) as usize + size_of::<f64>();
        let read = reader.by_ref().take(key as u64).read_to_end(&mut start)?;
        if read < key || start.len() > length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        row_bytes::sort_key(&start)?;
        Ok(Some(Self { reader, run, length, start }))
    }

    fn key(&self) -> (&[u8], f64) {
        row_bytes::sort_key(&self.start).unwrap_or_default()
    }
}

impl Ord for Head {
    /// The heap has the greatest on top: reversed, so that it is the first row.
    fn cmp(&self, other: &Self) -> Ordering {
        order(other.key(), self.key()).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// A part of a file.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    fn is_at_end(&self) -> bool {
        self.at >= self.end
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::lake::{pace::StopSignal, partition::Partition};

    fn row<'a>(event_name: &'a str, created_at: f64, payload: &'a str) -> LakeRow<'a> {
        LakeRow {
            event_uuid: "u",
            event_name,
            event_type: "menu",
            event_subtype: None,
            source: "web",
            schema_version: None,
            created_at,
            created_millis: 0,
            received_millis: 0,
            created_date: "2026-11-21",
            payload,
            client_address: None,
            dedup_scope: None,
        }
    }

    /// With a buffer of any size: also one that holds a single row, so that runs are merged several times over.
    #[test]
    fn rows_come_out_by_name_and_time_and_equal_rows_in_the_order_in_which_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path().join("scratch"));
        let pace = Pace::full(StopSignal::default());
        let partition = Partition { event_type: "menu".into(), created_date: "2026-11-21".into() };
        for (bytes_max, count) in [(1, 3 * LAKE_MERGE_RUNS_MAX + 7), (500, 2_000), (1 << 20, 2_000)] {
            let mut sorter = Sorter::new(&scratch, &pace, bytes_max, count);
            let mut wanted = Vec::new();
            for number in 0..count {
                let (name, created_at) = (["menu:b", "menu:a", "menu"][number * 7 % 3], (number * 31 % 11) as f64 - 5.0);
                wanted.push((name.to_owned(), created_at, number.to_string()));
                sorter.push(&row(name, created_at, &number.to_string()), Origin::default()).unwrap();
            }
            // A stable sort.
            wanted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            let mut found = Vec::new();
            sorter
                .finish(|bytes| {
                    let (row, _) = row_bytes::read(bytes, &partition)?;
                    found.push((row.event_name.to_owned(), row.created_at, row.payload.to_owned()));
                    Ok(())
                })
                .unwrap();
            assert_eq!(found, wanted, "{bytes_max}");
        }
        assert_eq!(folder.path().join("scratch").read_dir().unwrap().count(), 0, "scratch files have no name");
    }

    #[test]
    fn the_buffer_is_bounded_whatever_comes() {
        let folder = tempfile::tempdir().unwrap();
        let (scratch, pace) = (Scratch::new(folder.path().to_owned()), Pace::full(StopSignal::default()));
        let mut sorter = Sorter::new(&scratch, &pace, 64 * 1024, 2_000);
        let payload = "x".repeat(1_000);
        for number in 0..2_000 {
            sorter.push(&row("menu", f64::from(number), &payload), Origin::default()).unwrap();
            assert!(sorter.rows.len() < 64 * 1024, "{}", sorter.rows.len());
        }
        let mut rows = 0;
        sorter
            .finish(|_| {
                rows += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(rows, 2_000);
    }
}
