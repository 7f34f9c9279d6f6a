//! The files and folders of a store, and what became of a file that was to be made.

/// A file of a partition.
#[derive(Clone, Debug)]
pub(in crate::sink::lake) struct FileEntry {
    pub(in crate::sink::lake) name: String,
    pub(in crate::sink::lake) bytes: u64,
}

/// What became of a file that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink::lake) enum Created {
    /// It is there.
    New,
    /// Something of that name was there, and still is.
    Taken,
}

/// What a folder directly holds, by name and sorted.
#[derive(Debug, Default)]
pub(in crate::sink::lake) struct Folder {
    pub(in crate::sink::lake) folders: Vec<String>,
    pub(in crate::sink::lake) files: Vec<FileEntry>,
}
