//! Reads the letters in the files one by one. Reading needs no lock: whole lines never change in place, and a rewritten file
//! replaces the old one in one step.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{
    filter::{Filter, State},
    folder::{file_name, numbers},
    groups::{Groups, Member},
    journal::Repairs,
    pack::unpack,
    repeats::RepeatEntries,
    stored::{LetterId, StoredLetter},
};

/// The folder `dead-letters/`.
#[derive(Debug, Clone)]
pub struct Archive {
    root: PathBuf,
}

/// A letter that was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Name of its folder: nearly always the source.
    pub folder: &'a str,
    /// Its line, without the line end.
    pub line: &'a [u8],
    /// The parsed line.
    pub letter: StoredLetter<'a>,
    /// The state of the letter.
    pub state: State,
    /// How often its event was rejected again.
    pub repeats: u64,
    /// When that was for the last time.
    pub last_repeated: Option<&'a str>,
}

/// Findings of a read besides letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Whole lines that are not letters.
    pub unreadable_lines: u64,
}

impl Found<'_> {
    /// The name of the letter.
    #[must_use]
    pub fn id(&self) -> LetterId {
        LetterId::of(self.line)
    }

    /// The data for the group of the letter.
    #[must_use]
    pub fn member(&self) -> Member<'_> {
        Member {
            event_name: self.letter.event_name.as_deref(),
            schema_version: self.letter.schema_version(),
            code: &self.letter.code,
            pointer: &self.letter.pointer,
            source: &self.letter.source,
            received_datetime: &self.letter.received_datetime,
            event_uuid: self.letter.event_uuid.as_deref(),
            detail: &self.letter.detail,
            repeats: self.repeats,
            last_repeated: self.last_repeated,
        }
    }
}

impl Archive {
    /// The letters in the folder `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of `folder`.
    #[must_use]
    pub fn path(&self, folder: &str) -> PathBuf {
        self.root.join(folder)
    }

    /// Names of the folders, sorted.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn folders(&self) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        for entry in existing(fs::read_dir(&self.root))?.into_iter().flatten() {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.extend(entry.file_name().into_string().ok());
            }
        }
        folders.sort();
        Ok(folders)
    }

    /// Calls `visit` with every letter that `filter` selects, the oldest first in each folder. Letters that arrive meanwhile
    /// are not visited.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn visit(&self, filter: &Filter, visit: &mut dyn FnMut(&Found<'_>) -> ControlFlow<()>) -> io::Result<Survey> {
        let mut look = Look { filter, visit, survey: Survey::default() };
        for folder in self.folders()? {
            let path = self.path(&folder);
            let noted = Noted::read(&path)?;
            for number in sorted_numbers(&path)? {
                let Some(mut lines) = Lines::open(&path, number)? else { continue };
                while let Some(line) = lines.next()? {
                    if look.at(&folder, line, &noted).is_break() {
                        return Ok(look.survey);
                    }
                }
            }
        }
        Ok(look.survey)
    }

    /// Like [`Archive::visit`], for letters from elsewhere, one per line.
    ///
    /// # Errors
    /// The error of the disk, when it reads the earlier repairs of these letters.
    pub fn visit_given(
        &self,
        lines: &[u8],
        filter: &Filter,
        visit: &mut dyn FnMut(&Found<'_>) -> ControlFlow<()>,
    ) -> io::Result<Survey> {
        let mut look = Look { filter, visit, survey: Survey::default() };
        let mut known: HashMap<String, Noted> = HashMap::new();
        for line in lines.split(|byte| *byte == b'\n') {
            let unpacked = unpack(line.trim_ascii());
            for line in unpacked.as_deref().unwrap_or(line).split(|byte| *byte == b'\n') {
                let line = line.trim_ascii();
                if line.is_empty() {
                    continue;
                }
                let Ok(letter) = StoredLetter::parse(line) else {
                    look.survey.unreadable_lines += 1;
                    continue;
                };
                let folder = &*letter.source;
                if !known.contains_key(folder) {
                    known.insert(folder.to_owned(), Noted::read(&self.path(folder))?);
                }
                if look.at(folder, line, &known[folder]).is_break() {
                    return Ok(look.survey);
                }
            }
        }
        Ok(look.survey)
    }

    /// Calls `visit` with every line of every file, also those of dropped letters, and `unreadable` with the path of a file and
    /// bytes in it that are no letter: lines, and what a damaged file held.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn search(
        &self,
        visit: &mut dyn FnMut(&[u8], &StoredLetter<'_>),
        unreadable: &mut dyn FnMut(&Path, &[u8]),
    ) -> io::Result<()> {
        for folder in self.folders()? {
            let path = self.path(&folder);
            for number in sorted_numbers(&path)? {
                let Some(mut lines) = Lines::open(&path, number)? else { continue };
                while let Some(line) = lines.next()? {
                    match StoredLetter::parse(line) {
                        Ok(letter) => visit(line, &letter),
                        Err(_) => unreadable(&path.join(file_name(number)), line),
                    }
                }
            }
            for entry in existing(fs::read_dir(&path))?.into_iter().flatten() {
                let file = entry?.path();
                if file.extension().is_some_and(|extension| extension == "damaged")
                    && let Some(bytes) = existing(fs::read(&file))?
                {
                    unreadable(&file, &bytes);
                }
            }
        }
        Ok(())
    }

    /// The letters that `filter` selects, in groups.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn groups(&self, filter: &Filter) -> io::Result<(Groups, Survey)> {
        let mut groups = Groups::default();
        let survey = self.visit(filter, &mut |found| {
            groups.add(&found.member());
            ControlFlow::Continue(())
        })?;
        Ok((groups, survey))
    }
}

/// What the journals of a folder say of its letters.
struct Noted {
    repairs: Repairs,
    repeats: RepeatEntries,
}

impl Noted {
    fn read(folder: &Path) -> io::Result<Self> {
        Ok(Self { repairs: Repairs::read(folder)?, repeats: RepeatEntries::read(folder)? })
    }
}

/// One read through letters.
struct Look<'a> {
    filter: &'a Filter,
    visit: &'a mut dyn FnMut(&Found<'_>) -> ControlFlow<()>,
    survey: Survey,
}

impl Look<'_> {
    fn at(&mut self, folder: &str, line: &[u8], noted: &Noted) -> ControlFlow<()> {
        let Ok(letter) = StoredLetter::parse(line) else {
            self.survey.unreadable_lines += 1;
            return ControlFlow::Continue(());
        };
        if !self.filter.matches(line, &letter) {
            return ControlFlow::Continue(());
        }
        let state = noted.repairs.state(line);
        if !self.filter.wants(state) {
            return ControlFlow::Continue(());
        }
        let (repeats, last_repeated) =
            noted.repeats.of(line).map_or((0, None), |entry| (entry.repeats, entry.last_repeated.as_deref()));
        (self.visit)(&Found { folder, line, letter, state, repeats, last_repeated })
    }
}

/// The letters on a line, or on the lines that it packs, each as its line.
#[must_use]
pub fn lines_in(line: &[u8]) -> Vec<Vec<u8>> {
    let line = line.trim_ascii_end();
    match unpack(line) {
        Some(unpacked) => unpacked.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect(),
        None => vec![line.to_vec()],
    }
}

/// Numbers of the files in a folder, the oldest first.
pub(super) fn sorted_numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut found = existing(numbers(folder))?.unwrap_or_default();
    found.sort_unstable();
    Ok(found)
}

/// `None` if the file or folder does not exist: both may be removed at any time.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The current letters of a file, each as its line; packed letters one by one.
pub(super) struct Lines {
    reader: BufReader<io::Take<File>>,
    line: Vec<u8>,
    /// The unpacked letters, and how many bytes of them were returned.
    unpacked: Vec<u8>,
    given: usize,
}

impl Lines {
    pub(super) fn open(folder: &Path, number: u32) -> io::Result<Option<Self>> {
        Self::open_tail(folder, number, u64::MAX)
    }

    /// The letters in the last `bytes` of a file.
    pub(super) fn open_tail(folder: &Path, number: u32, bytes: u64) -> io::Result<Option<Self>> {
        let Some(mut file) = existing(File::open(folder.join(file_name(number))))? else { return Ok(None) };
        let length = file.metadata()?.len();
        let skipped = length.saturating_sub(bytes);
        file.seek(SeekFrom::Start(skipped.saturating_sub(1)))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file.take(length - skipped.saturating_sub(1)));
        let mut line = Vec::new();
        if skipped > 0 {
            // The rest of the line before.
            reader.read_until(b'\n', &mut line)?;
        }
        Ok(Some(Self { reader, line, unpacked: Vec::new(), given: 0 }))
    }

    /// The next line, without its end. An incomplete last line of the newest file is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.given == self.unpacked.len() {
            (self.given, self.unpacked) = (0, Vec::new());
            self.line.clear();
            self.reader.read_until(b'\n', &mut self.line)?;
            let Some(line) = self.line.strip_suffix(b"\n") else { return Ok(None) };
            match unpack(line) {
                Some(unpacked) => self.unpacked = unpacked,
                // A damaged pack counts as a line that is not a letter.
                None => return Ok(Some(line)),
            }
        }
        let rest = &self.unpacked[self.given..];
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len() - 1);
        self.given += length + 1;
        Ok(Some(&rest[..length]))
    }

    /// Whether the last line was packed.
    pub(super) fn is_packed(&self) -> bool {
        !self.unpacked.is_empty()
    }
}
