//! The files of one source.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::limits::DEAD_LETTER_FILE_BYTES;

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

impl SourceFolder {
    /// Opens the folder, making it where it is new, and cuts a line that a crash tore.
    pub(super) fn open(root: &Path, source: &str) -> io::Result<Self> {
        let path = root.join(source);
        if !path.is_dir() {
            fs::create_dir(&path)?;
            File::open(root)?.sync_all()?;
        }
        let number = numbers(&path)?.into_iter().max().unwrap_or(1);
        let (file, length) = open_to_append(&path, &file_name(number))?;
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

    /// Appends whole lines and syncs them. After an error the folder must be opened anew.
    pub(super) fn append<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let deleted = !self.path.join(file_name(self.number)).exists();
        if deleted || self.length >= DEAD_LETTER_FILE_BYTES {
            self.begin(self.number + u32::from(!deleted))?;
        }
        let mut written = 0;
        for text in texts {
            self.file.write_all(text)?;
            written += text.len() as u64;
        }
        self.file.sync_data()?;
        self.length += written;
        self.total += written;
        Ok(())
    }

    /// Begins another file where this one holds anything. From then on nobody appends to those before it.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        if self.length > 0 { self.begin(self.number + 1) } else { Ok(()) }
    }

    fn begin(&mut self, number: u32) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        (self.file, self.length) = open_to_append(&self.path, &file_name(number))?;
        self.number = number;
        Ok(())
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

/// Opens a file to append, cut after its last line end. Says its length.
pub(super) fn open_to_append(folder: &Path, name: &str) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(folder.join(name))?;
    File::open(folder)?.sync_all()?;
    let length = whole_lines(&mut file)?;
    if length < file.metadata()?.len() {
        file.set_len(length)?;
        file.sync_all()?;
    }
    Ok((file, length))
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
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
