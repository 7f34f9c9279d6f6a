//! The files of one source.
//!
//! People and programs move, cut and remove files under a running gateway: logrotate renames one and makes an empty one with its
//! name, or copies one and cuts it; somebody makes room with `rm`. So the file that is open is compared with the one that has the
//! name, before letters are written and again once they are synced, before anybody is told that they are kept.

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

/// The dead letters of one source: numbered files, the last of which is written to.
#[derive(Debug)]
pub(super) struct SourceFolder {
    path: PathBuf,
    number: u32,
    file: File,
    /// Bytes of the file that are whole lines and synced.
    length: u64,
    /// Bytes of all files, as last counted, and what was written since.
    total: u64,
}

/// Why letters were not appended. The folder must be opened anew.
#[derive(Debug)]
pub(super) struct NotAppended {
    /// What the disk said.
    pub error: io::Error,
    /// The file of which nobody knows what the disk holds: none with this number may be written to any more.
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
    /// Opens the folder, making it where it is new, and cuts a line that a crash tore. Files up to `unsure` are not written to.
    pub(super) fn open(root: &Path, source: &str, unsure: Option<u32>) -> Result<Self, NotAppended> {
        let path = root.join(source);
        make_folders(root, &path)?;
        let highest = numbers(&path)?.into_iter().max().unwrap_or(1);
        let number = unsure.map_or(highest, |unsure| highest.max(unsure.saturating_add(1)));
        let (number, file, length) = open_from(&path, number)?;
        let total = bytes_below(&path)?;
        Ok(Self { path, number, file, length, total })
    }

    /// Whether `bytes` more stay within `quota`. Counts anew before it refuses: files may have been deleted.
    pub(super) fn has_room_for(&mut self, bytes: u64, quota: u64) -> bool {
        if self.total + bytes > quota {
            self.total = bytes_below(&self.path).unwrap_or(self.total);
        }
        self.total + bytes <= quota
    }

    /// Bytes that it holds, as far as is known.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether what is open has the name still, and ends where the last letter ends.
    pub(super) fn is_current(&self) -> bool {
        let (named, open) = (fs::metadata(self.path.join(file_name(self.number))), self.file.metadata());
        named.is_ok_and(|named| {
            open.is_ok_and(|open| (named.dev(), named.ino(), named.len()) == (open.dev(), open.ino(), self.length))
        })
    }

    /// Appends whole lines and syncs them; all are in the file that has the name when this returns.
    pub(super) fn append(&mut self, texts: &[&[u8]]) -> Result<(), NotAppended> {
        if self.length >= DEAD_LETTER_FILE_BYTES && self.is_current() {
            self.begin(self.number.saturating_add(1))?;
        }
        let before = self.length;
        for text in texts {
            if let Err(error) = self.file.write_all(text) {
                // Nobody is told that they are kept, so they should not be found.
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

    /// Begins another file where this one holds anything. From then on nobody appends to those before it.
    pub(super) fn roll(&mut self) -> Result<(), NotAppended> {
        if self.length > 0 { self.begin(self.number.saturating_add(1)) } else { Ok(()) }
    }

    fn begin(&mut self, number: u32) -> Result<(), NotAppended> {
        (self.number, self.file, self.length) = open_from(&self.path, number)?;
        Ok(())
    }
}

/// Makes the folder of a source, and that of all sources, where they are not there. Their parent is not made: without it the
/// data folder is gone.
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

/// Opens the file with this number, or, where something else has its name or it cannot be read, one of the next.
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

/// Opens a file to append, cut after its last line end. Says its length.
pub(super) fn open_to_append(folder: &Path, name: &str) -> Result<(File, u64), NotOpened> {
    let unsure = |error| NotOpened { error, unsure: true };
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(folder.join(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name} is no file")).into());
    }
    // To open it may fail for want of a descriptor, which says nothing of the disk.
    File::open(folder)?.sync_all().map_err(unsure)?;
    let length = whole_lines(&mut file)?;
    if length < file.metadata()?.len() {
        file.set_len(length)?;
        file.sync_all().map_err(unsure)?;
    }
    Ok((file, length))
}

/// Sets aside what a power cut left in the newest file of `folder` and is no letter: a file system may have kept the end of a
/// write without its beginning, which then is zeros. Nobody was told that those letters are kept, but the file must stay one of
/// JSON lines. The bytes are kept beside it, in `….damaged`, since a decayed disk may look the same. How many lines there were.
pub(super) fn set_torn_lines_aside(folder: &Path) -> io::Result<usize> {
    let Some(newest) = numbers(folder)?.into_iter().max() else { return Ok(0) };
    let path = folder.join(file_name(newest));
    let text = fs::read(&path)?;
    let is_letter = |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    // What has no line end yet is cut when the file is opened.
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

/// Leaves only whole letters in the newest file of `folder`: see [`set_torn_lines_aside`]. What has no line end yet is cut.
pub(super) fn finish_newest_file(folder: &Path) -> io::Result<()> {
    set_torn_lines_aside(folder)?;
    if let Some(newest) = numbers(folder)?.into_iter().max() {
        open_to_append(folder, &file_name(newest))?;
    }
    Ok(())
}

/// Bytes up to and with the last line end, looked for from the end.
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
            // Somebody is just removing it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The folders below `root`, each with its bytes.
pub(super) fn bytes_by_folder(root: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        // Somebody may just be removing it.
        if let Ok(bytes) = bytes_below(&entry.path()) {
            folders.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    Ok(folders)
}

/// Whether `folder` takes a file and makes it durable. What the trial leaves is no file of letters.
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
