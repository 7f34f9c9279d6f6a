//! The erased events of a spool: no sink gets them any more.
//!
//! An erased frame stays in its segment until the segment is unlinked, because a segment is never rewritten. Its number is in
//! the file `erased`, which is durable before an erasure goes on. Deliverers begin each attempt with [`Spool::begin_attempt`],
//! leave the erased events out, and settle them. So an attempt either knows of an erasure, or the erasure waits for its end
//! ([`EarlierAttempts`]). The numbers of unlinked segments are removed from the file, after the quarantine was searched for
//! their frames.
//!
//! ```text
//! erased = magic "LKGSERA1" | spool id 16 B | sequence numbers u64, ascending | crc u32
//! ```
//!
//! [`Spool::begin_attempt`]: super::Spool::begin_attempt

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    disk::Disk,
    fault::{Fault, read_file, replace_file, seal, unseal},
    folder::Folder,
};

const NAME: &str = "erased";
const MAGIC: &[u8; 8] = b"LKGSERA1";

/// The erased events of a spool, and the attempts to deliver that are under way.
pub(super) struct Erased {
    spool_id: Uuid,
    state: Mutex<State>,
    /// Held while the file is replaced.
    writing: Mutex<()>,
}

struct State {
    seqs: Arc<BTreeSet<u64>>,
    /// Attempts that know `seqs` hold a receiver.
    attempts: Arc<watch::Sender<()>>,
    /// Attempts that began before the last erasure.
    earlier: Vec<Arc<watch::Sender<()>>>,
}

/// An attempt to deliver. An erasure that begins meanwhile waits until it is dropped.
#[derive(Clone, Debug)]
pub struct AttemptGuard {
    erased: Arc<BTreeSet<u64>>,
    _under_way: watch::Receiver<()>,
}

impl AttemptGuard {
    /// Whether any event is erased.
    #[must_use]
    pub fn has_erased(&self) -> bool {
        !self.erased.is_empty()
    }

    /// Whether this event is erased, so that it must not be delivered.
    #[must_use]
    pub fn is_erased(&self, seq: u64) -> bool {
        self.erased.contains(&seq)
    }
}

/// The attempts that began before an erasure.
#[must_use]
pub struct EarlierAttempts(Vec<Arc<watch::Sender<()>>>);

impl EarlierAttempts {
    /// Waits until all of them have ended.
    pub async fn ended(self) {
        for attempts in self.0 {
            attempts.closed().await;
        }
    }
}

impl Erased {
    /// Reads the file in `folder`. Numbers at `end_seq` or beyond are ignored: their frames are gone, and new events get them.
    pub(super) fn load(disk: &dyn Disk, folder: &Folder, spool_id: Uuid, end_seq: u64) -> Self {
        let seqs = match read(disk, folder, spool_id) {
            Ok(seqs) => seqs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                tracing::error!(%error, "the list of erased events cannot be read: repeat the erasures, or erased events are delivered");
                BTreeSet::new()
            }
        };
        let seqs = Arc::new(seqs.into_iter().take_while(|seq| *seq < end_seq).collect());
        let state = State { seqs, attempts: Arc::new(watch::Sender::new(())), earlier: Vec::new() };
        Self { spool_id, state: Mutex::new(state), writing: Mutex::default() }
    }

    pub(super) fn now(&self) -> Arc<BTreeSet<u64>> {
        self.state().seqs.clone()
    }

    pub(super) fn begin_attempt(&self) -> AttemptGuard {
        let state = self.state();
        AttemptGuard { erased: state.seqs.clone(), _under_way: state.attempts.subscribe() }
    }

    /// Adds `seqs` durably. Attempts that begin afterwards know them.
    pub(super) fn add(&self, disk: &dyn Disk, folder: &Folder, seqs: &[u64]) -> Result<EarlierAttempts, Fault> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = (*self.now()).clone();
        let before = all.len();
        all.extend(seqs);
        if all.len() > before {
            self.write(disk, folder, &all)?;
        }
        let mut state = self.state();
        state.seqs = Arc::new(all);
        state.earlier.retain(|attempts| !attempts.is_closed());
        let earlier = std::mem::replace(&mut state.attempts, Arc::new(watch::Sender::new(())));
        state.earlier.push(earlier);
        Ok(EarlierAttempts(state.earlier.clone()))
    }

    /// Forgets the numbers below `first_seq`, whose frames are gone.
    pub(super) fn forget_below(&self, disk: &dyn Disk, folder: &Folder, first_seq: u64) -> Result<(), Fault> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let left = (*self.now()).clone().split_off(&first_seq);
        self.write(disk, folder, &left)?;
        self.state().seqs = Arc::new(left);
        Ok(())
    }

    fn write(&self, disk: &dyn Disk, folder: &Folder, seqs: &BTreeSet<u64>) -> Result<(), Fault> {
        let numbers: Vec<u8> = seqs.iter().flat_map(|seq| seq.to_le_bytes()).collect();
        replace_file(disk, folder, NAME, &seal(&[MAGIC, self.spool_id.as_bytes(), &numbers]))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(disk: &dyn Disk, folder: &Folder, spool_id: Uuid) -> io::Result<BTreeSet<u64>> {
    let path = folder.join(NAME);
    let size = match disk.id_at(&path)? {
        None => return Ok(BTreeSet::new()),
        Some(_) => disk.size_at(&path)?,
    };
    let bytes = read_file(disk, &path, usize::try_from(size).unwrap_or(0))?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong");
    let fields = unseal(&bytes).and_then(|fields| fields.strip_prefix(MAGIC)).ok_or_else(damaged)?;
    // The numbers of another spool say nothing of this one.
    let Some(numbers) = fields.strip_prefix(spool_id.as_bytes()) else { return Ok(BTreeSet::new()) };
    Ok(numbers.chunks_exact(8).filter_map(|number| Some(u64::from_le_bytes(number.try_into().ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::{super::disk::RealDisk, *};

    const ID: Uuid = Uuid::from_u128(3);

    fn open(path: &std::path::Path, end_seq: u64) -> (Folder, Erased) {
        let folder = Folder::make(&RealDisk, path).unwrap();
        let erased = Erased::load(&RealDisk, &folder, ID, end_seq);
        (folder, erased)
    }

    fn seqs(erased: &Erased) -> Vec<u64> {
        erased.now().iter().copied().collect()
    }

    #[tokio::test]
    async fn an_erasure_is_durable_and_waits_for_the_attempts_that_do_not_know_it_and_for_no_others() {
        let root = tempfile::tempdir().unwrap();
        let (folder, erased) = open(root.path(), 100);
        let before = erased.begin_attempt();
        let earlier = erased.add(&RealDisk, &folder, &[7, 3]).unwrap();
        let after = erased.begin_attempt();
        assert!(!before.is_erased(7) && after.is_erased(7) && after.is_erased(3) && !after.is_erased(4));
        let again = erased.add(&RealDisk, &folder, &[]).unwrap();
        let mut waiting = Box::pin(earlier.ended());
        let poll = |future: &mut std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
        };
        let mut both = Box::pin(again.ended()) as std::pin::Pin<Box<dyn Future<Output = ()>>>;
        assert!(!poll(&mut both));
        drop(before);
        waiting.as_mut().await;
        assert!(!poll(&mut both), "the second waits for the attempt that began between the two");
        drop(after);
        both.await;
        assert_eq!(seqs(&open(root.path(), 100).1), [3, 7]);
        assert_eq!(seqs(&open(root.path(), 7).1), [3], "a frame beyond the end is gone");
    }

    #[test]
    fn numbers_of_unlinked_segments_are_forgotten_and_a_damaged_list_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let (folder, erased) = open(root.path(), 100);
        let _ = erased.add(&RealDisk, &folder, &[3, 7, 9]).unwrap();
        erased.forget_below(&RealDisk, &folder, 7).unwrap();
        assert_eq!((seqs(&erased), seqs(&open(root.path(), 100).1)), (vec![7, 9], vec![7, 9]));
        let other = Erased::load(&RealDisk, &folder, Uuid::from_u128(4), 100);
        assert_eq!(seqs(&other), [0; 0], "the list of another spool");
        std::fs::write(root.path().join(NAME), "nonsense").unwrap();
        assert_eq!(seqs(&open(root.path(), 100).1), [0; 0]);
    }
}
