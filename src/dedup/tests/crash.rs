//! Crashes between any two disk operations, with every state that the disk may then hold.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::dedup::folder::{Folder, Step};

/// A folder as it may be found after a crash.
type Image = BTreeMap<String, Vec<u8>>;

/// Images of one moment, with the end of the confirmed and of the dropped events.
struct Moment {
    before: (Step, String),
    images: Vec<Image>,
    confirmed: u64,
    checkpointed: u64,
}

/// Tracks the disk: which bytes were synced, and which were only written.
#[derive(Default)]
struct Disk {
    done: Option<(Step, String)>,
    synced_contents: HashMap<u64, Vec<u8>>,
    synced_names: BTreeMap<String, u64>,
    moments: Vec<Moment>,
}

impl Disk {
    fn names(folder: &Path) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino())).collect()
    }

    /// Applies the step that was announced last time, and is done by now.
    fn advance(&mut self, folder: &Path) {
        let inode = |name: &str| fs::metadata(folder.join(name)).unwrap().ino();
        match self.done.take() {
            Some((Step::Create, name)) => drop(self.synced_contents.insert(inode(&name), Vec::new())),
            Some((Step::SyncFile, name)) => {
                self.synced_contents.insert(inode(&name), fs::read(folder.join(name)).unwrap());
            }
            Some((Step::SyncFolder, _)) => self.synced_names = Self::names(folder),
            _ => {}
        }
    }

    /// The states that a crash may leave: everything (the process is killed), or after a power loss only synced data, with
    /// names and removals that may or may not have reached the disk.
    fn images(&self, folder: &Path) -> Vec<Image> {
        let names = Self::names(folder);
        let synced = |(name, inode): (&String, &u64)| (name.clone(), self.synced_contents[inode].clone());
        let kill = names.keys().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect();
        let power = self.synced_names.iter().map(synced).collect();
        let names_first = names.iter().map(synced).collect();
        let removals_first = self.synced_names.iter().filter(|(name, _)| names.contains_key(*name)).map(synced).collect();
        let mut images = vec![kill, power, names_first, removals_first];
        images.dedup();
        images
    }
}

#[test]
fn a_crash_between_any_two_steps_of_sealing_and_merging_forgets_nothing() {
    let folder = scratch();
    let config = tiny(folder.path());
    let disk = Arc::new(Mutex::new(Disk::default()));
    let confirmed = Arc::new(AtomicU64::new(0));
    let checkpointed = Arc::new(AtomicU64::new(0));
    let hook = {
        let (disk, confirmed, checkpointed) = (Arc::clone(&disk), Arc::clone(&confirmed), Arc::clone(&checkpointed));
        let path: PathBuf = folder.path().to_owned();
        move |step: Step, name: &str| -> io::Result<()> {
            let mut disk = disk.lock().unwrap();
            disk.advance(&path);
            let moment = Moment {
                before: (step, name.to_owned()),
                images: disk.images(&path),
                confirmed: confirmed.load(Ordering::SeqCst),
                checkpointed: checkpointed.load(Ordering::SeqCst),
            };
            disk.moments.push(moment);
            disk.done = Some((step, name.to_owned()));
            Ok(())
        }
    };
    let opened = Folder::open(folder.path()).unwrap().with_hook(Box::new(hook));
    let window = Window::open_in(opened, config.clone(), 0).unwrap().0;
    let ids = random_ids(560);
    for (batch, batch_ids) in ids.chunks(4).enumerate() {
        let end = batch as u64 * 4 + 4;
        // In the spool first, as in the gateway.
        confirmed.store(end, Ordering::SeqCst);
        remember(&window, batch_ids, end - 4, 0);
        if batch % 3 == 2 {
            window.checkpoint(end).unwrap();
            checkpointed.store(end, Ordering::SeqCst);
        }
        if batch % 10 == 9 {
            window.settle();
        }
    }
    window.settle();
    drop(window);

    let moments = std::mem::take(&mut disk.lock().unwrap().moments);
    for step in [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder, Step::Remove] {
        assert!(moments.iter().filter(|moment| moment.before.0 == step).count() > 20, "{step:?}");
    }
    for moment in &moments {
        for (kind, image) in moment.images.iter().enumerate() {
            let place = scratch();
            for (name, bytes) in image {
                fs::write(place.path().join(name), bytes).unwrap();
            }
            let what = format!("image {kind} before {:?}: {:?}", moment.before, image.keys());
            let (window, report) = Window::open(WindowConfig { dir: place.path().into(), ..config.clone() }, 0).unwrap();
            assert!(report.set_aside.is_empty(), "{what}");
            // The spool has dropped all that the checkpoint allowed it to drop.
            let from = window.sealed_mark().max(moment.checkpointed);
            let spooled = (from..moment.confirmed).map(|mark| (Identity::unknown(ids[mark as usize]), mark));
            window.restore(spooled, 0).unwrap();
            let expected = moment.confirmed as usize;
            assert_eq!(known(&window, &ids[..expected], 0), expected, "{what}");
            window.settle();
            let left = fs::read_dir(place.path()).unwrap().count();
            assert_eq!(left as u64, window.stats().runs, "no leftovers: {what}");
        }
    }
}
