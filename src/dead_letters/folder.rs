//! The files of one source.
//!
//! People and programs move, truncate and remove files under a running gateway: logrotate renames a file and creates an empty
//! file with its name, or copies and truncates it; a person frees space with `rm`. So the writer compares the open file with
//! the file of that name, before it writes letters and again after the sync, before it reports them as stored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::de::IgnoredAny;

use crate::{
    durable::{self, FILE_MODE},
    fault::{FaultKind, Operation, fault_kind},
    limits::{DEAD_LETTER_FILE_BYTES, DEAD_LETTER_FILE_TRIES},
};

/// The dead letters of one source: numbered files; only the last one is written to.
#[derive(Debug)]
pub(super) struct SourceFolder {
    path: PathBuf,
    number: u32,
    file: File,
    /// Bytes of whole, synced lines in the file.
    length: u64,
    /// Bytes of all files at the last count, plus the bytes written since.
    total: u64,
}

/// Why letters were not appended. The folder must be opened again.
#[derive(Debug)]
pub(super) struct NotAppended {
    /// The error of the disk.
    pub error: io::Error,
    /// Number of a file whose contents on the disk are unknown: files up to this number must not be written to any more.
    pub unsure: Option<u32>,
    /// The letters are durable, in a file that lost its name meanwhile.
    pub is_moved: bool,
}

impl From<io::Error> for NotAppended {
    fn from(error: io::Error) -> Self {
        Self { error, unsure: None, is_moved: false }
    }
}

impl SourceFolder {
    /// Opens the folder, creates it if needed, and cuts a line that a crash tore. Files up to `unsure` are not written to.
    pub(super) fn open(root: &Path, source: &str, unsure: Option<u32>) -> Result<Self, NotAppended> {
        let path = root.join(source);
        make_folders(root, &path)?;
        let highest = numbers(&path)?.into_iter().max().unwrap_or(1);
        let number = unsure.map_or(highest, |unsure| highest.max(unsure.saturating_add(1)));
        let (number, file, length) = open_from(&path, number)?;
        let total = bytes_below(&path)?;
        Ok(Self { path, number, file, length, total })
    }

    /// Whether `bytes` more stay within `quota`. Counts again before it refuses, because files may have been deleted.
    pub(super) fn has_room_for(&mut self, bytes: u64, quota: u64) -> bool {
        if self.total + bytes > quota {
            self.total = bytes_below(&self.path).unwrap_or(self.total);
        }
        self.total + bytes <= quota
    }

    /// Bytes in the folder, as far as known.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The number of the open file, and its length.
    pub(super) fn end(&self) -> (u32, u64) {
        (self.number, self.length)
    }

    /// Whether the open file still has its name, and ends where the last letter ends.
    pub(super) fn is_current(&self) -> bool {
        let (named, open) = (fs::metadata(self.path.join(file_name(self.number))), self.file.metadata());
        named.is_ok_and(|named| {
            open.is_ok_and(|open| (named.dev(), named.ino(), named.len()) == (open.dev(), open.ino(), self.length))
        })
    }

    /// Appends whole lines and syncs them; on success all are in the file that has the name.
    pub(super) fn append(&mut self, texts: &[&[u8]]) -> Result<(), NotAppended> {
        if self.length >= DEAD_LETTER_FILE_BYTES && self.is_current() {
            self.begin(self.number.saturating_add(1))?;
        }
        let before = self.length;
        for text in texts {
            if let Err(error) = self.file.write_all(text) {
                // The letters are not reported as stored, so readers should not find them.
                let _ = self.file.set_len(before);
                return Err(error.into());
            }
            self.length += text.len() as u64;
        }
        if let Err(error) = self.file.sync_data() {
            let _ = self.file.set_len(before);
            return Err(NotAppended { error, unsure: Some(self.number), is_moved: false });
        }
        self.total += self.length - before;
        if self.is_current() {
            return Ok(());
        }
        let error = io::Error::other("the file was moved, cut or removed while letters were written to it");
        Err(NotAppended { error, unsure: None, is_moved: true })
    }

    /// Opens another file if this one is not empty. Afterwards no letters are appended to the earlier files.
    pub(super) fn roll(&mut self) -> Result<(), NotAppended> {
        if self.length > 0 { self.begin(self.number.saturating_add(1)) } else { Ok(()) }
    }

    fn begin(&mut self, number: u32) -> Result<(), NotAppended> {
        (self.number, self.file, self.length) = open_from(&self.path, number)?;
        Ok(())
    }
}

/// Creates the folder of a source, and the folder of all sources, if they are missing. Their parent is not created: without it
/// the data folder is gone.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    match durable::make_subfolder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            durable::make_subfolder(root)?;
            durable::make_subfolder(folder)
        }
        made => made,
    }
}

/// Name of a file of letters.
pub(super) fn file_name(number: u32) -> String {
    format!("{number:08}.ndjson")
}

/// The numbers of a folder's files, in no order.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u32> = name.to_string_lossy().strip_suffix(".ndjson").and_then(|stem| stem.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// Opens the file with this number, or one of the next if this one is unreadable or not a file.
fn open_from(folder: &Path, mut number: u32) -> Result<(u32, File, u64), NotAppended> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match open_to_append(folder, &file_name(number)) {
            Ok((file, length)) => return Ok((number, file, length)),
            Err(error) => error,
        };
        let is_gone = matches!(error.error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let is_of_this_file = error.unsure || (fault_kind(&error.error, Operation::Name) == FaultKind::Place && !is_gone);
        if !is_of_this_file || tries == DEAD_LETTER_FILE_TRIES {
            return Err(NotAppended { error: error.error, unsure: error.unsure.then_some(number), is_moved: false });
        }
        number = number.saturating_add(1);
    }
}

/// Why a file cannot be opened to append.
#[derive(Debug)]
pub(super) struct NotOpened {
    error: io::Error,
    /// A sync failed.
    unsure: bool,
}

impl From<io::Error> for NotOpened {
    fn from(error: io::Error) -> Self {
        Self { error, unsure: false }
    }
}

impl From<NotOpened> for io::Error {
    fn from(error: NotOpened) -> Self {
        error.error
    }
}

/// Opens a file to append, cut after its last line end. Also returns its length.
pub(super) fn open_to_append(folder: &Path, name: &str) -> Result<(File, u64), NotOpened> {
    let unsure = |error| NotOpened { error, unsure: true };
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(folder.join(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name} is no file")).into());
    }
    // A failed open may only lack a file descriptor, which says nothing about the disk.
    File::open(folder)?.sync_all().map_err(unsure)?;
    let length = whole_lines(&mut file)?;
    if length < file.metadata()?.len() {
        file.set_len(length)?;
        file.sync_all().map_err(unsure)?;
    }
    Ok((file, length))
}

/// Sets aside lines in the newest file of `folder` that are not letters after a power cut: a file system may have kept the end
/// of a write without its beginning, which then is zeros. Those letters were never reported as stored, but the file must stay
/// valid NDJSON. The bytes are kept in `….damaged`, because a decayed disk may look the same. Returns the number of lines.
pub(super) fn set_torn_lines_aside(folder: &Path) -> io::Result<usize> {
    let Some(newest) = numbers(folder)?.into_iter().max() else { return Ok(0) };
    let path = folder.join(file_name(newest));
    let text = fs::read(&path)?;
    let is_letter = |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    // The next open cuts a line without an end.
    let lines = || text.split_inclusive(|byte| *byte == b'\n');
    let torn = || lines().filter(|line| line.ends_with(b"\n") && !is_letter(line));
    let count = torn().count();
    if count > 0 {
        let aside = folder.join(format!("{}.damaged", file_name(newest)));
        let mut kept = match fs::read(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            before => before.unwrap_or_default(),
        };
        kept.extend(torn().flatten());
        durable::replace_file(&aside, &kept)?;
        let letters: Vec<u8> = lines().filter(|line| is_letter(line) || !line.ends_with(b"\n")).flatten().copied().collect();
        durable::replace_file(&path, &letters)?;
    }
    Ok(count)
}

/// Leaves only whole letters in the newest file of `folder`: see [`set_torn_lines_aside`]. A line without an end is cut.
pub(super) fn finish_newest_file(folder: &Path) -> io::Result<()> {
    set_torn_lines_aside(folder)?;
    if let Some(newest) = numbers(folder)?.into_iter().max() {
        open_to_append(folder, &file_name(newest))?;
    }
    Ok(())
}

/// Bytes up to and including the last line end, searched from the end.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const CHUNK: u64 = 64 * 1024;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        if let Some(at) = memchr::memrchr(b'\n', &chunk) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Bytes of all files below `folder`.
pub(super) fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // Another process is just removing the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Bytes of the files of letters in `folder`.
pub(super) fn bytes_of_letters(folder: &Path) -> io::Result<u64> {
    let lengths = numbers(folder)?.into_iter().map(|number| fs::metadata(folder.join(file_name(number))));
    Ok(lengths.flatten().map(|file| file.len()).sum())
}

/// The folders below `root`, each with its bytes.
pub(super) fn bytes_by_folder(root: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        // Another process may be removing the folder.
        if let Ok(bytes) = bytes_below(&entry.path()) {
            folders.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    Ok(folders)
}

/// Whether `folder` accepts a file and makes it durable. The trial file is not a file of letters.
pub(super) fn try_out(root: &Path, source: &str) -> io::Result<()> {
    const TRIAL_BYTES: usize = 4096;
    let folder = root.join(source);
    make_folders(root, &folder)?;
    let trial = folder.join("trial.tmp");
    let mut file = durable::create(&trial)?;
    let tried = file.write_all(&[b'\n'; TRIAL_BYTES]).and_then(|()| file.sync_all());
    fs::remove_file(&trial)?;
    tried
}
