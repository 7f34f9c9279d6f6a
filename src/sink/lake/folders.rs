//! The folders of partitions and the files in them, whatever a log says of them.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    LakeError,
    partition::{Partition, folder_of_type},
    store::{FileEntry, Store},
};

/// The partitions that have a folder, of the types and dates that are wanted, sorted. Other folders are not listed.
pub(super) fn partitions(
    store: &Store,
    is_wanted_type: impl Fn(&str) -> bool,
    is_wanted_date: impl Fn(&str) -> bool,
) -> Result<Vec<Partition>, LakeError> {
    let folders = store.list("")?.folders;
    let types: Vec<&str> = folders.iter().filter_map(|name| Partition::type_of_folder(name)).collect();
    let types: Vec<&str> = types.into_iter().filter(|event_type| is_wanted_type(event_type)).collect();
    let listed = in_parallel(store.readers(), &types, |event_type| store.list(&folder_of_type(event_type)));
    let mut partitions = Vec::new();
    for (event_type, listed) in types.iter().zip(listed) {
        let folders = listed?.folders;
        let dates = folders.iter().filter_map(|name| Partition::date_of_folder(name));
        let wanted = dates.filter(|date| is_wanted_date(date));
        partitions.extend(wanted.map(|date| Partition { event_type: (*event_type).to_owned(), created_date: date.to_owned() }));
    }
    partitions.sort_unstable();
    Ok(partitions)
}

/// Every file in the folders of partitions.
pub(super) fn stored_files(store: &Store) -> Result<Vec<(Partition, FileEntry)>, LakeError> {
    let partitions = partitions(store, |_| true, |_| true)?;
    let listed = in_parallel(store.readers(), &partitions, |partition| store.list(&partition.to_string()));
    let mut files = Vec::new();
    for (partition, listed) in partitions.iter().zip(listed) {
        files.extend(listed?.files.into_iter().map(|entry| (partition.clone(), entry)));
    }
    Ok(files)
}

/// Runs `work` on every item in several threads; the results are in the order of the items.
pub(super) fn in_parallel<'a, I: Sync, R: Send>(threads: usize, items: &'a [I], work: impl Fn(&'a I) -> R + Sync) -> Vec<R> {
    if threads <= 1 || items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let answer = work(item);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((index, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
