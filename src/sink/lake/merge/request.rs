//! What to rewrite, what can go wrong, and how a file is opened.

use std::io;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

use crate::sink::lake::{
    pace::{Pace, Stopped},
    partition::Partition,
    read::LakeFile,
    row::LakeRow,
    scratch::Scratch,
    store::Store,
};

/// A file of the partition.
#[derive(Clone, Debug)]
pub(in crate::sink::lake) struct MergeInput {
    /// Its path below the root.
    pub(in crate::sink::lake) path: String,
    pub(in crate::sink::lake) bytes: u64,
    pub(in crate::sink::lake) rows: u64,
    /// Whether it is rewritten in any case. Others are rewritten only if they have doubles.
    pub(in crate::sink::lake) rewrite: bool,
}

/// What to rewrite.
pub(in crate::sink::lake) struct MergeRequest<'a> {
    pub(in crate::sink::lake) store: &'a Store,
    pub(in crate::sink::lake) partition: &'a Partition,
    /// All files of the partition.
    pub(in crate::sink::lake) files: &'a [MergeInput],
    /// Whether of each event only the row received first stays.
    pub(in crate::sink::lake) drop_doubles: bool,
    /// Whether a file with columns that this version does not know is left alone.
    pub(in crate::sink::lake) refuse_unknown_columns: bool,
    /// Whether a row stays.
    pub(in crate::sink::lake) keep: &'a dyn Fn(&LakeRow<'_>) -> bool,
    /// Bytes of a new file at most, roughly.
    pub(in crate::sink::lake) file_bytes_max: u64,
    /// Bytes of rows that are sorted in memory.
    pub(in crate::sink::lake) sort_bytes_max: usize,
    /// Keys in memory while doubles are searched.
    pub(in crate::sink::lake) keys_max: usize,
    pub(in crate::sink::lake) scratch: &'a Scratch,
    pub(in crate::sink::lake) pace: &'a Pace,
}

/// Why files could not be rewritten. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(in crate::sink::lake) enum MergeError {
    /// The work was told to stop.
    #[error("stopped")]
    Stopped,
    /// Somebody removed a file meanwhile: plan again.
    #[error("{0}: was removed meanwhile")]
    Gone(String),
    /// There are more rows than doubles can be found in.
    #[error("{rows} rows in one partition: at most {rows_max} can be merged")]
    TooManyRows { rows: u64, rows_max: u64 },
    /// The disk or the store.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Encoding a file.
    #[error("encoding: {0}")]
    Parquet(#[from] ParquetError),
    /// The receiver of the rows ended it, and knows why.
    #[error("the receiver of the rows ended")]
    Ended,
    /// Building its columns.
    #[error("columns: {0}")]
    Arrow(#[from] ArrowError),
}

impl From<Stopped> for MergeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// A file to read. It is opened for each pass, because a partition may have more files than a process may open.
pub(super) struct Input<'a> {
    pub(super) position: usize,
    pub(super) file: &'a MergeInput,
}

/// A file that cannot be merged: its position in the list of inputs, and the reason.
pub(super) struct Unusable {
    pub(super) input: usize,
    pub(super) reason: String,
}

/// Opens a file; the inner error is its own fault.
pub(super) fn open(request: &MergeRequest<'_>, file: &MergeInput) -> Result<Result<LakeFile, String>, MergeError> {
    let gone = || MergeError::Gone(file.path.clone());
    // Asked, because an object of S3 is opened without a request.
    if !request.store.is_local() {
        match request.store.size(&file.path) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(gone()),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let source = match request.store.open(&file.path, file.bytes) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(LakeFile::open(source).and_then(|opened| match opened.extra_columns().first() {
        Some(column) if request.refuse_unknown_columns => {
            Err(format!("has the column `{column}`, which this version would drop"))
        }
        _ => Ok(opened),
    }))
}
