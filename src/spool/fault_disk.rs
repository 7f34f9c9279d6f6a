//! A disk in memory that fails on demand and drops data that was not synced. For tests only.
//!
//! It models durability: each file has the content that the running system sees and the content on the platter. Dirty pages
//! are the difference. An fsync writes them; a power loss keeps any part of them; a *failed* fsync may write some, and forgets
//! that the rest was ever dirty, as Linux does. Names are durable once their folder is synced. Until then each change of a
//! name survives or not, independent of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use super::disk::{Disk, DiskDir, DiskFile, DiskLock, FileId, Space};

/// SplitMix64: the same seed gives the same run.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }
}

/// Random faults, in thousandths of the operations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) short_write: u32,
    pub(super) write_error: u32,
    pub(super) read_error: u32,
    pub(super) sync_error: u32,
    pub(super) truncate_error: u32,
    /// Opening or creating a file or a folder finds no descriptor.
    pub(super) no_descriptor: u32,
    /// Reads and writes that a signal interrupts: must be repeated, and are no failure.
    pub(super) interrupted: u32,
}

#[derive(Clone)]
pub(super) struct FaultDisk(Arc<Mutex<State>>);

pub(super) struct State {
    rng: Rng,
    page: usize,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<NameChange>,
    locked: BTreeSet<usize>,
    /// Counts the processes: files opened by an earlier process are gone.
    life: u64,
    pub(super) is_dead: bool,
    /// Folders and inodes whose sync failed in this process.
    failed_syncs: BTreeSet<SyncTarget>,

    /// Operations until the process dies in the middle of one.
    pub(super) dies_after: Option<u64>,
    pub(super) faults: Faults,
    pub(super) capacity: u64,
    /// Part of the capacity that is reported as free but cannot be written.
    pub(super) hidden_bytes: u64,
    pub(super) panics_on_write: bool,
    /// Mounted read-only: names cannot be changed; a write to an open file goes to memory, and its sync succeeds.
    pub(super) is_read_only: bool,
    /// Counts the folders: each removal of the folder begins a new one.
    folder: u64,
    /// Files that cannot be read in this range of bytes.
    pub(super) bad_sector: Option<(PathBuf, std::ops::Range<u64>)>,
    pub(super) creations: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    /// Syncs repeated after a failed sync: there must be none.
    pub(super) retried_syncs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SyncTarget {
    Names,
    Inode(usize),
}

#[derive(Default)]
struct Inode {
    /// What reads show.
    cached: Vec<u8>,
    /// Content on the platter.
    durable: Vec<u8>,
    /// Pages of `cached` that are newer than the platter.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Set(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

impl Inode {
    fn write_back(&mut self, page: usize, page_bytes: usize) {
        let range = page * page_bytes..((page + 1) * page_bytes).min(self.cached.len());
        if !range.is_empty() {
            if self.durable.len() < range.end {
                self.durable.resize(range.end, 0);
            }
            self.durable[range.clone()].copy_from_slice(&self.cached[range]);
        }
    }

    fn power_loss(&mut self, page_bytes: usize, rng: &mut Rng) {
        let (before, after) = (self.durable.len(), self.cached.len());
        let size = match rng.below(3) {
            0 => before,
            1 => after,
            _ if after > before => before + rng.below(after - before + 1),
            _ => after,
        };
        self.durable.resize(size, 0);
        for page in std::mem::take(&mut self.dirty) {
            let start = page * page_bytes;
            let mut end = ((page + 1) * page_bytes).min(self.cached.len()).min(size);
            match rng.below(4) {
                0 => continue,
                // A page torn in the middle.
                1 if end > start => end = start + rng.below(end - start + 1),
                _ => {}
            }
            if start < end {
                self.durable[start..end].copy_from_slice(&self.cached[start..end]);
            }
        }
        self.cached.clone_from(&self.durable);
    }
}

impl State {
    /// Begins an operation: an error if the process is dead, true if the process dies in the middle of this operation.
    fn begin(&mut self, life: u64) -> io::Result<bool> {
        if self.is_dead || life != self.life {
            return Err(io::Error::other("the process is dead"));
        }
        match &mut self.dies_after {
            Some(0) => {
                self.is_dead = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn take_descriptor(&mut self) -> io::Result<()> {
        let rate = self.faults.no_descriptor;
        if rate > 0 && self.rng.chance(rate) { Err(Errno::MFILE.into()) } else { Ok(()) }
    }

    /// Changes a name. If the process dies in this operation, the change may or may not have happened.
    fn change(&mut self, life: u64, change: &NameChange) -> io::Result<()> {
        let dies = self.begin(life)?;
        if self.is_read_only {
            return Err(Errno::ROFS.into());
        }
        if !dies || self.rng.chance(500) {
            change.apply(&mut self.names);
            self.changes.push(change.clone());
        }
        if dies { Err(io::Error::other("the process died")) } else { Ok(()) }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        let inodes: BTreeSet<_> = self.names.values().collect();
        inodes.into_iter().map(|inode| self.inodes[*inode].cached.len() as u64).sum()
    }

    fn next_life(&mut self) {
        self.life += 1;
        self.is_dead = false;
        self.dies_after = None;
        self.locked.clear();
        self.failed_syncs.clear();
    }

    fn note_sync(&mut self, target: SyncTarget) {
        self.syncs += 1;
        self.retried_syncs += u64::from(self.failed_syncs.contains(&target));
    }
}

/// First inode number of folders; those of files are lower.
const FOLDERS: u64 = 1 << 32;

impl State {
    /// The folder at `path` now: one of the two of a spool, or one above them.
    fn folder_id(&self, path: &Path) -> Option<FileId> {
        let is_folder = path.ends_with("spool") || path.ends_with("quarantine") || path == Path::new("/");
        is_folder.then(|| FileId { device: 1, inode: FOLDERS + self.folder * 16 + path.components().count() as u64 })
    }
}

impl FaultDisk {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let page = [16, 64, 512, 4096][rng.below(4)];
        Self(Arc::new(Mutex::new(State {
            rng,
            page,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            locked: BTreeSet::new(),
            life: 0,
            is_dead: false,
            failed_syncs: BTreeSet::new(),
            dies_after: None,
            faults: Faults::default(),
            capacity: u64::MAX,
            hidden_bytes: 0,
            panics_on_write: false,
            is_read_only: false,
            folder: 0,
            bad_sector: None,
            creations: 0,
            writes: 0,
            syncs: 0,
            retried_syncs: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is gone, but the system runs: its memory still holds the writes.
    pub(super) fn kill(&self) {
        self.state().next_life();
    }

    /// The machine is gone too.
    pub(super) fn power_loss(&self) {
        let mut state = self.state();
        let State { rng, page, inodes, changes, durable_names, names, .. } = &mut *state;
        for change in changes.drain(..) {
            if rng.chance(500) {
                change.apply(durable_names);
            }
        }
        names.clone_from(durable_names);
        for inode in inodes {
            inode.power_loss(*page, rng);
        }
        state.next_life();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// The content of a file, as reads show it.
    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.inodes[state.inode(path).ok()?].cached.clone())
    }

    /// Puts a file there, durably: models another program, or decay.
    pub(super) fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        let inode = state.inode(path).unwrap_or_else(|_| {
            state.inodes.push(Inode::default());
            state.inodes.len() - 1
        });
        state.inodes[inode] = Inode { cached: content.to_vec(), durable: content.to_vec(), dirty: BTreeSet::new() };
        state.names.insert(path.to_owned(), inode);
        state.durable_names.insert(path.to_owned(), inode);
    }

    /// Removes the whole folder, durably.
    pub(super) fn take_folder(&self, dir: &Path) {
        let mut state = self.state();
        state.names.retain(|path, _| !path.starts_with(dir));
        state.durable_names.retain(|path, _| !path.starts_with(dir));
        state.changes.clear();
        state.folder += 1;
    }

    /// Removes a file, durably.
    pub(super) fn take(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    pub(super) fn names(&self, dir: &Path) -> Vec<String> {
        let state = self.state();
        let in_dir = state.names.keys().filter(|path| path.parent() == Some(dir));
        in_dir.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// A separate disk with the same content, all of it durable.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new(0);
        let paths: Vec<_> = self.state().names.keys().cloned().collect();
        for path in paths {
            copy.put(&path, &self.content(&path).unwrap());
        }
        copy
    }

    fn file(&self, inode: usize, path: &Path) -> Arc<dyn DiskFile> {
        let life = self.state().life;
        Arc::new(FaultFile { disk: self.clone(), inode, life, path: path.to_owned() })
    }
}

impl Disk for FaultDisk {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        state.take_descriptor()?;
        let inode = state.inode(path).unwrap_or_else(|_| {
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.names.insert(path.to_owned(), inode);
            state.durable_names.insert(path.to_owned(), inode);
            inode
        });
        if !state.locked.insert(inode) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultLock { disk: self.clone(), life: state.life, inode }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.names(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = {
            let mut state = self.state();
            state.creations += 1;
            state.take_descriptor()?;
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.inodes.push(Inode::default());
            let (inode, life) = (state.inodes.len() - 1, state.life);
            state.change(life, &NameChange::Set(path.to_owned(), inode))?;
            inode
        };
        Ok(self.file(inode, path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = {
            let mut state = self.state();
            state.take_descriptor()?;
            state.inode(path)?
        };
        Ok(self.file(inode, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (inode, life) = (state.inode(from)?, state.life);
        state.change(life, &NameChange::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (inode, life) = (state.inode(from)?, state.life);
        if state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change(life, &NameChange::Set(to.to_owned(), inode))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        let life = state.life;
        state.change(life, &NameChange::Remove(path.to_owned()))
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn DiskDir>> {
        let mut state = self.state();
        state.take_descriptor()?;
        Ok(Arc::new(FaultDir { disk: self.clone(), dir: dir.to_owned(), folder: state.folder }))
    }

    fn id_at(&self, path: &Path) -> io::Result<Option<FileId>> {
        let state = self.state();
        let file = state.names.get(path).map(|inode| FileId { device: 1, inode: *inode as u64 });
        // Other paths are folders, and all folders exist.
        Ok(file.or_else(|| state.folder_id(path)))
    }

    fn size_at(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.inodes[state.inode(path)?].cached.len() as u64)
    }
}

struct FaultDir {
    disk: FaultDisk,
    dir: PathBuf,
    folder: u64,
}

impl DiskDir for FaultDir {
    fn sync(&self) -> io::Result<()> {
        let dir = &self.dir;
        let mut state = self.disk.state();
        let life = state.life;
        let dies = state.begin(life)?;
        state.note_sync(SyncTarget::Names);
        let rate = state.faults.sync_error;
        let fails = state.rng.chance(rate);
        let State { rng, changes, durable_names, .. } = &mut *state;
        if dies || fails {
            // Any of the changes may have reached the disk. All stay pending, so that a later sync ends with the names as they
            // are.
            for change in changes.iter().filter(|change| change.touches(dir)) {
                if rng.chance(500) {
                    change.apply(durable_names);
                }
            }
        } else {
            changes.retain(|change| {
                let is_synced = change.touches(dir);
                if is_synced {
                    change.apply(durable_names);
                }
                !is_synced
            });
        }
        if fails {
            state.failed_syncs.insert(SyncTarget::Names);
        }
        if dies || fails { Err(io::Error::other("sync failed")) } else { Ok(()) }
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.disk.state();
        Ok(Space { free_bytes: state.capacity.saturating_sub(state.used()), is_read_only: state.is_read_only })
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: FOLDERS + self.folder * 16 + self.dir.components().count() as u64 })
    }
}

struct FaultFile {
    disk: FaultDisk,
    inode: usize,
    life: u64,
    path: PathBuf,
}

impl DiskFile for FaultFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let dies = state.begin(self.life)?;
        assert!(!state.panics_on_write, "on purpose");
        state.writes += 1;
        let faults = state.faults;
        if state.rng.chance(faults.interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        let mut size = bytes.len();
        if dies || state.rng.chance(faults.short_write) {
            size = state.rng.below(size + 1);
        }
        if state.rng.chance(faults.write_error) {
            return Err(io::Error::other("write error"));
        }
        let grows = |size: usize, inode: &Inode| (offset + size as u64).saturating_sub(inode.cached.len() as u64);
        let free = state.capacity.saturating_sub(state.used()).saturating_sub(state.hidden_bytes);
        if grows(size, &state.inodes[self.inode]) > free {
            size = free.min(size as u64) as usize;
            if size == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let State { rng, page, inodes, is_read_only, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        let range = offset as usize..offset as usize + size;
        if inode.cached.len() < range.end {
            inode.cached.resize(range.end, 0);
        }
        inode.cached[range.clone()].copy_from_slice(&bytes[..size]);
        inode.dirty.extend(range.start / *page..range.end.div_ceil(*page));
        // The system may write pages back at any time.
        if !*is_read_only && rng.chance(200) {
            let likes = [100, 500, 1000][rng.below(3)];
            let picked: Vec<_> = inode.dirty.iter().copied().filter(|_| rng.chance(likes)).collect();
            for page_index in picked {
                inode.write_back(page_index, *page);
                inode.dirty.remove(&page_index);
            }
        }
        if dies { Err(io::Error::other("the process died")) } else { Ok(size) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.is_dead || self.life != state.life {
            return Err(io::Error::other("the process is dead"));
        }
        let faults = state.faults;
        if state.rng.chance(faults.interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if state.rng.chance(faults.read_error) {
            return Err(Errno::IO.into());
        }
        let range = offset..offset + buffer.len() as u64;
        if let Some((path, bad)) = &state.bad_sector
            && *path == self.path
            && bad.start < range.end
            && range.start < bad.end
        {
            return Err(Errno::IO.into());
        }
        let cached = &state.inodes[self.inode].cached;
        let rest = cached.get(offset as usize..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }

    fn links(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.names.values().filter(|inode| **inode == self.inode).count() as u64)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: self.inode as u64 })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let dies = state.begin(self.life)?;
        let rate = state.faults.truncate_error;
        if state.rng.chance(rate) {
            return Err(io::Error::other("truncate error"));
        }
        if !dies || state.rng.chance(500) {
            let page = state.page;
            let inode = &mut state.inodes[self.inode];
            inode.cached.resize(size as usize, 0);
            inode.dirty.retain(|dirty| dirty * page < size as usize);
        }
        if dies { Err(io::Error::other("the process died")) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let dies = state.begin(self.life)?;
        state.note_sync(SyncTarget::Inode(self.inode));
        if state.is_read_only {
            return Ok(());
        }
        let rate = state.faults.sync_error;
        let fails = state.rng.chance(rate);
        let State { rng, page, inodes, failed_syncs, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        if dies || fails {
            for dirty in inode.dirty.clone() {
                if rng.chance(500) {
                    inode.write_back(dirty, *page);
                    inode.dirty.remove(&dirty);
                }
            }
            if fails {
                // The rest is not on the platter, and no later sync will write it.
                inode.dirty.clear();
                failed_syncs.insert(SyncTarget::Inode(self.inode));
            }
            return Err(io::Error::other("sync failed"));
        }
        for dirty in std::mem::take(&mut inode.dirty) {
            inode.write_back(dirty, *page);
        }
        let size = inode.cached.len();
        inode.durable.resize(size, 0);
        Ok(())
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let State { page, inodes, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        for (index, cached) in inode.cached.chunks_mut(*page).enumerate() {
            if !inode.dirty.contains(&index) {
                let durable = inode.durable.get(index * *page..).unwrap_or_default();
                let known = durable.len().min(cached.len());
                cached[..known].copy_from_slice(&durable[..known]);
                cached[known..].fill(0);
            }
        }
        Ok(())
    }
}

struct FaultLock {
    disk: FaultDisk,
    life: u64,
    inode: usize,
}

impl DiskLock for FaultLock {
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: self.inode as u64 })
    }
}

impl Drop for FaultLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked.remove(&self.inode);
        }
    }
}
