//! The journal: which events beyond the cursor were sent, which of them are settled, and which ranges the lake planned.
//!
//! Calls end in any order, partitions fail separately, and the cursor moves only over settled events without a gap. The journal
//! records what lies beyond, for every sink. So a restart sends only unsettled events, knows for which events the result is
//! unknown, and repeats each range of the lake under its name.
//!
//! ```text
//! header   magic "LKGJRNL1" | spool id 16 B | crc u32
//! entry    kind u8 | count u32 | body | crc u32
//! body     1 sent, 2 settled     count × (first seq u64 | length u32)
//!          3 ranges              count × (first seq u64 | end seq u64)
//!          4 sent, 5 settled     first seq u64 | count × u64, a bit for each event, the lowest first
//! ```
//!
//! All numbers are little-endian; a checksum is CRC32C over the preceding bytes of the header or the entry. A torn end is cut.
//! Entries are written at once and synced when the cursor moves: after a killed process the system still has all of them; after
//! a power cut the events of the last moment are sent again. A planned range is synced before it is delivered. The journal
//! never claims more than happened, so it causes no loss: entries beyond the spool's durable end belong to frames that are
//! gone, and are ignored.
//!
//! Its size is bounded even if delivery is stuck: after [`JOURNAL_BYTES_MAX`] of new entries it is rewritten. A set then takes
//! at most a bit for each event between the cursor and the newest event that was read, and reading ahead is bounded itself.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use uuid::Uuid;

use crate::{
    conditions::{Condition, Conditions},
    durable,
    fault::Tries,
    limits::{DELIVERY_DISK_PATIENCE, JOURNAL_BYTES_MAX},
    progress::{SeqSet, ranges},
};

const MAGIC: &[u8; 8] = b"LKGJRNL1";
const HEADER_BYTES: usize = 8 + 16 + 4;
const SENT: u8 = 1;
const SETTLED: u8 = 2;
const STRETCHES: u8 = 3;
/// Added to the kind of a set that is written as bits.
const AS_BITS: u8 = 3;
/// Ranges in one entry; bounds what is read at once.
const ENTRY_RANGES: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    spool_id: Uuid,
    /// `None` if the file could not even be created.
    file: Option<File>,
    bytes: u64,
    /// Bytes of the file after the last rewrite.
    least_bytes: u64,
    is_synced: bool,
    /// Set while the file is incomplete: nothing is appended, and the journal is rewritten at that time.
    mend_at: Option<Instant>,
    tries: Tries,
    conditions: Conditions,
}

/// The contents of a journal at the start.
#[derive(Debug)]
pub(super) struct Journaled {
    /// Everything below the cursor, and everything settled beyond it.
    pub(super) settled: SeqSet,
    /// Everything that was sent, confirmed or not.
    pub(super) sent: SeqSet,
    /// Ranges whose delivery had begun: first number to end.
    pub(super) stretches: BTreeMap<u64, u64>,
}

impl Journal {
    /// Opens the journal at `path` for the spool with `spool_id`, whose cursor is `cursor` and whose durable end is
    /// `durable_end`. A journal of another spool is replaced. A journal that cannot be read or written does not stop delivery:
    /// events that are not known as settled are sent again.
    pub(super) fn open(
        path: PathBuf,
        spool_id: Uuid,
        cursor: u64,
        durable_end: u64,
        conditions: Conditions,
    ) -> (Self, Journaled) {
        let mut known = Journaled { settled: SeqSet::below(cursor), sent: SeqSet::below(cursor), stretches: BTreeMap::new() };
        if let Err(error) = known.read(&path, spool_id, cursor..durable_end) {
            let aside = path.with_extension("damaged");
            let kept = fs::rename(&path, &aside).is_ok();
            tracing::error!(%error, path = %path.display(), kept, "the journal of deliveries cannot be read to its end; \
                what it does not say is delivered again");
        }
        let mut journal = Self {
            path,
            spool_id,
            file: None,
            bytes: 0,
            least_bytes: 0,
            is_synced: true,
            mend_at: None,
            tries: Tries::default(),
            conditions,
        };
        journal.write_anew(cursor, &known, Instant::now());
        (journal, known)
    }

    /// Records that these events are about to be sent.
    pub(super) fn sent(&mut self, seqs: &[u64]) {
        self.append_set(SENT, seqs);
    }

    /// Records that these events are settled.
    pub(super) fn settled(&mut self, seqs: &[u64]) {
        self.append_set(SETTLED, seqs);
    }

    /// Records that the delivery of this range begins; durable when the call returns.
    ///
    /// # Errors
    /// The error of the disk.
    pub(super) fn plan(&mut self, stretch: &Range<u64>) -> io::Result<()> {
        let mut entry = Vec::new();
        write_entry(STRETCHES, 1, &mut entry, |out| {
            out.extend_from_slice(&stretch.start.to_le_bytes());
            out.extend_from_slice(&stretch.end.to_le_bytes());
        });
        self.append(&entry);
        self.sync();
        if self.mend_at.is_some() { Err(io::Error::other("the journal of deliveries cannot be written")) } else { Ok(()) }
    }

    /// Makes the recorded entries durable.
    pub(super) fn sync(&mut self) {
        if std::mem::replace(&mut self.is_synced, true) {
            return;
        }
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            // After a failed sync the state on the disk is unknown, so another file replaces it.
            self.fail(&error, Instant::now());
        }
    }

    /// Whether the journal must be rewritten now, because it is long or incomplete.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.mend_at.map_or(self.bytes > self.least_bytes + JOURNAL_BYTES_MAX, |at| now >= at)
    }

    /// Rewrites the journal with the entries that are still needed: those beyond `cursor`, the position of the spool's cursor.
    pub(super) fn write_anew(&mut self, cursor: u64, known: &Journaled, now: Instant) {
        match write_anew(&self.path, self.spool_id, cursor, known) {
            Ok((file, bytes)) => {
                (self.file, self.bytes, self.least_bytes, self.is_synced) = (Some(file), bytes, bytes, true);
                self.tries.succeeded();
                self.mend_at = None;
                self.conditions.clear(Condition::JournalUnwritable, self.place());
            }
            Err(error) => self.fail(&error, now),
        }
    }

    fn append_set(&mut self, kind: u8, seqs: &[u64]) {
        let mut bytes = Vec::new();
        let ranges: Vec<Range<u64>> = ranges(seqs).collect();
        ranges.chunks(ENTRY_RANGES).for_each(|ranges| write_set(kind, ranges, &mut bytes));
        self.append(&bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(file) = self.file.as_mut().filter(|_| self.mend_at.is_none()) else { return };
        match file.write_all(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                self.is_synced = false;
            }
            Err(error) => {
                // A torn entry would hide the entries after it, so nothing is appended: the journal is rewritten.
                let _ = file.set_len(self.bytes);
                self.fail(&error, Instant::now());
            }
        }
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        let pause = self.tries.failed(&DELIVERY_DISK_PATIENCE, now).unwrap_or(DELIVERY_DISK_PATIENCE.longest);
        self.mend_at = Some(now + pause);
        let detail = format!("the journal of deliveries cannot be written, a crash now would deliver some events again: {error}");
        self.conditions.raise(Condition::JournalUnwritable, self.place(), detail);
    }

    fn place(&self) -> &str {
        self.path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default()
    }
}

impl Journaled {
    /// Reads the entries for `within` from the file at `path`, one by one.
    fn read(&mut self, path: &Path, spool_id: Uuid, within: Range<u64>) -> io::Result<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut left = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        let mut entry = vec![0; HEADER_BYTES];
        if left < HEADER_BYTES as u64 || reader.read_exact(&mut entry).is_err() || entry != header(spool_id) {
            return Ok(());
        }
        left -= HEADER_BYTES as u64;
        while left > 5 {
            entry.resize(5, 0);
            reader.read_exact(&mut entry)?;
            let (kind, count) = (entry[0], u64::from(u32::from_le_bytes([entry[1], entry[2], entry[3], entry[4]])));
            let body = match kind {
                SENT | SETTLED => count * 12,
                STRETCHES => count * 16,
                _ if kind == SENT + AS_BITS || kind == SETTLED + AS_BITS => 8 + count * 8,
                _ => return Ok(()),
            };
            let whole = 5 + body + 4;
            if whole > left {
                return Ok(());
            }
            left -= whole;
            entry.resize(whole as usize, 0);
            reader.read_exact(&mut entry[5..])?;
            let (said, crc) = entry.split_at(entry.len() - 4);
            if crc32c::crc32c(said).to_le_bytes() != crc {
                return Ok(());
            }
            self.take(kind, &said[5..], &within);
        }
        Ok(())
    }

    fn take(&mut self, kind: u8, body: &[u8], within: &Range<u64>) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        if kind == STRETCHES {
            let stretches = body.chunks_exact(16).map(|stretch| (number(&stretch[..8]), number(&stretch[8..])));
            // A range that ends at or before the cursor is done; a range beyond the durable end holds frames that are gone.
            self.stretches.extend(stretches.filter(|(first, end)| *end > within.start && *end <= within.end && first < end));
            return;
        }
        let is_bits = kind > STRETCHES;
        let set = if kind == SENT || kind == SENT + AS_BITS { &mut self.sent } else { &mut self.settled };
        if is_bits {
            let first = number(&body[..8]);
            for (index, word) in body[8..].chunks_exact(8).enumerate() {
                let mut word = number(word);
                while word != 0 {
                    let seq = first.saturating_add(index as u64 * 64 + u64::from(word.trailing_zeros()));
                    word &= word - 1;
                    if within.contains(&seq) {
                        set.insert(seq);
                    }
                }
            }
            return;
        }
        for range in body.chunks_exact(12) {
            let first = number(&range[..8]);
            let length = u32::from_le_bytes(range[8..].try_into().unwrap_or_default());
            for seq in first.max(within.start)..first.saturating_add(length.into()).min(within.end) {
                set.insert(seq);
            }
        }
    }
}

fn header(spool_id: Uuid) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..24].copy_from_slice(spool_id.as_bytes());
    let crc = crc32c::crc32c(&header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn write_anew(path: &Path, spool_id: Uuid, cursor: u64, known: &Journaled) -> io::Result<(File, u64)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    durable::make_folder(folder)?;
    let aside = path.with_extension("journal.tmp");
    let mut out = BufWriter::new(durable::create(&aside)?);
    out.write_all(&header(spool_id))?;
    let mut entry = Vec::new();
    for (kind, set) in [(SENT, &known.sent), (SETTLED, &known.settled)] {
        let mut ranges = std::iter::once(cursor..set.prefix()).chain(set.ranges_ahead()).filter(|range| range.end > cursor);
        loop {
            let some: Vec<Range<u64>> = ranges.by_ref().take(ENTRY_RANGES).collect();
            if some.is_empty() {
                break;
            }
            entry.clear();
            write_set(kind, &some, &mut entry);
            out.write_all(&entry)?;
        }
    }
    let stretches: Vec<_> = known.stretches.iter().filter(|(_, end)| **end > cursor).collect();
    for stretches in stretches.chunks(ENTRY_RANGES) {
        entry.clear();
        write_entry(STRETCHES, stretches.len(), &mut entry, |out| {
            stretches.iter().for_each(|(first, end)| {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
            });
        });
        out.write_all(&entry)?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    durable::sync_folder(folder)?;
    let file = OpenOptions::new().append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Writes sorted ranges in the shorter form: as ranges, or as a bit for each number between the first and the last.
fn write_set(kind: u8, ranges: &[Range<u64>], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return };
    let words = (last.end - first.start).div_ceil(64);
    if ranges.len() > 1 && 8 + words * 8 < ranges.len() as u64 * 12 {
        let mut bits = vec![0_u64; words as usize];
        for seq in ranges.iter().cloned().flatten() {
            let at = seq - first.start;
            bits[(at / 64) as usize] |= 1 << (at % 64);
        }
        return write_entry(kind + AS_BITS, bits.len(), out, |out| {
            out.extend_from_slice(&first.start.to_le_bytes());
            bits.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        });
    }
    // A length has 32 bits, so longer ranges are split.
    let pieces = |range: &Range<u64>| {
        let end = range.end;
        (range.start..end).step_by(u32::MAX as usize).map(move |first| (first, (end - first).min(u32::MAX.into()) as u32))
    };
    let count = ranges.iter().flat_map(pieces).count();
    write_entry(kind, count, out, |out| {
        for (first, length) in ranges.iter().flat_map(pieces) {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
    });
}

fn write_entry(kind: u8, count: usize, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&(count as u32).to_le_bytes());
    body(out);
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn open(path: PathBuf, id: Uuid, cursor: u64, durable_end: u64) -> (Journal, Journaled) {
        Journal::open(path, id, cursor, durable_end, Conditions::default())
    }

    fn ahead(set: &SeqSet) -> Vec<u64> {
        set.ranges_ahead().flatten().collect()
    }

    #[test]
    fn what_was_sent_and_settled_is_known_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("delivery/journal");
        let (mut journal, known) = open(path.clone(), ID, 10, 100);
        assert_eq!((known.settled.prefix(), known.settled.ahead()), (10, 0));
        journal.sent(&[10, 11, 12, 20, 30]);
        journal.settled(&[11, 12, 30]);
        drop(journal);
        let (mut journal, known) = open(path.clone(), ID, 10, 100);
        assert_eq!((ahead(&known.settled), ahead(&known.sent)), (vec![11, 12, 30], vec![20, 30]));
        assert!(known.sent.contains(10));
        journal.settled(&[10]);
        drop(journal);
        // The cursor did not move, and everything is still known, also after a rewrite.
        let (mut journal, known) = open(path.clone(), ID, 10, 100);
        assert_eq!((known.settled.prefix(), ahead(&known.settled), known.sent.prefix()), (13, vec![30], 13));
        journal.write_anew(10, &known, Instant::now());
        drop(journal);
        let (_, known) = open(path, ID, 10, 100);
        assert_eq!((known.settled.prefix(), ahead(&known.settled), ahead(&known.sent)), (13, vec![30], vec![20, 30]));
    }

    #[test]
    fn numbers_that_the_spool_gives_again_are_not_taken_for_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(path.clone(), ID, 0, 100);
        journal.settled(&[5, 50, 51]);
        drop(journal);
        let (journal, known) = open(path.clone(), ID, 0, 50);
        assert_eq!(ahead(&known.settled), [5], "the frames from 50 on are gone, and what gets their numbers is new");
        drop(journal);
        let (journal, known) = open(path.clone(), ID, 0, 100);
        assert_eq!(ahead(&known.settled), [5], "and stays so");
        drop(journal);
        let (_, known) = open(path, Uuid::from_u128(8), 0, 100);
        assert!(ahead(&known.settled).is_empty(), "the journal of another spool");
    }

    #[test]
    fn a_journal_cut_or_flipped_anywhere_never_says_more_than_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(path.clone(), ID, 0, 1000);
        for seq in [3, 9, 27, 81] {
            journal.settled(&[seq, seq + 1]);
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let all = [3, 4, 9, 10, 27, 28, 81, 82];
        let reopened = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            ahead(&open(path.clone(), ID, 0, 1000).1.settled)
        };
        for cut in 0..whole.len() {
            let known = reopened(&whole[..cut]);
            assert!(all.starts_with(&known), "cut at {cut}: {known:?}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let known = reopened(&damaged);
            assert!(all.starts_with(&known), "bit {bit}: {known:?}");
        }
        assert_eq!(reopened(&whole), all);
    }

    #[test]
    fn planned_stretches_are_known_until_they_are_delivered_also_when_it_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(path.clone(), ID, 0, 1000);
        for stretch in [0..10, 10..30, 30..40] {
            journal.plan(&stretch).unwrap();
        }
        let expected = BTreeMap::from([(10, 30), (30, 40)]);
        for _ in 0..2 {
            assert_eq!(open(path.clone(), ID, 10, 1000).1.stretches, expected);
        }
        assert_eq!(open(path, ID, 30, 39).1.stretches, BTreeMap::new(), "its frames are gone");
    }

    #[test]
    fn however_scattered_and_whatever_is_stuck_it_is_bounded_by_two_bits_for_each_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let events = 4_000_000_u64;
        let (mut journal, mut known) = open(path.clone(), ID, 0, events);
        let mut largest = 0;
        // The oldest event is stuck, and every second one behind it.
        let scattered: Vec<u64> = (0..events).skip(1).step_by(2).collect();
        for seqs in scattered.chunks(500) {
            // As in a flow with many shards: numbers that do not follow each other, in separate calls.
            journal.sent(seqs);
            journal.settled(seqs);
            for seq in seqs {
                known.sent.insert(*seq);
                known.settled.insert(*seq);
            }
            if journal.is_due(Instant::now()) {
                journal.write_anew(0, &known, Instant::now());
            }
            largest = largest.max(fs::metadata(&path).unwrap().len());
        }
        assert!(largest <= JOURNAL_BYTES_MAX + events / 2 + 100_000, "{largest}");
        drop(journal);
        let (journal, known) = open(path, ID, 0, events);
        assert!(ahead(&known.settled) == scattered && ahead(&known.sent) == scattered);
        assert!(journal.bytes < events / 2 + 100_000, "{}", journal.bytes);
    }

    #[test]
    fn what_could_not_be_written_is_there_once_the_disk_takes_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("delivery");
        fs::write(&place, "no folder").unwrap();
        let path = place.join("journal");
        let (mut journal, mut known) = open(path.clone(), ID, 0, 100);
        assert!(journal.conditions.holds(Condition::JournalUnwritable));
        journal.settled(&[5]);
        known.settled.insert(5);
        assert!(journal.plan(&(0..9)).is_err());
        fs::remove_file(&place).unwrap();
        let later = Instant::now() + DELIVERY_DISK_PATIENCE.longest;
        assert!(journal.is_due(later));
        journal.write_anew(0, &known, later);
        journal.plan(&(0..9)).unwrap();
        assert!(!journal.conditions.holds(Condition::JournalUnwritable));
        let (_, known) = open(path, ID, 0, 100);
        assert_eq!((ahead(&known.settled), known.stretches), (vec![5], BTreeMap::from([(0, 9)])));
    }
}
