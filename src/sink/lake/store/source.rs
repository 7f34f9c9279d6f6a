//! An open file for the Parquet reader: random access to bytes on disk or in blocks fetched from S3.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::{Buf, Bytes, buf};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

use crate::limits::LAKE_WHOLE_FILE_BYTES_MAX;

/// An open file; clones share it.
#[derive(Clone, Debug)]
pub(in crate::sink::lake) struct Source {
    bytes: u64,
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Local(Arc<File>),
    /// A small file, read when it was opened: the Parquet reader reads some fifty times from a file, whatever its size.
    Whole(Bytes),
    #[cfg(feature = "s3")]
    S3(Arc<super::s3_blocks::Blocks>),
}

impl Source {
    pub(super) fn local(file: File, bytes: u64) -> Self {
        // A file that cannot be read now is read later, piece by piece, for its error.
        let whole = (bytes <= LAKE_WHOLE_FILE_BYTES_MAX).then(|| {
            let mut whole = vec![0; bytes as usize];
            file.read_exact_at(&mut whole, 0).ok().map(|()| Bytes::from(whole))
        });
        let inner = whole.flatten().map_or_else(|| Inner::Local(Arc::new(file)), Inner::Whole);
        Self { bytes, inner }
    }

    #[cfg(feature = "s3")]
    pub(super) fn s3(blocks: super::s3_blocks::Blocks, bytes: u64) -> Self {
        Self { bytes, inner: Inner::S3(Arc::new(blocks)) }
    }

    /// Reads at most `buffer` from `offset`; returns 0 only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.inner {
            Inner::Local(file) => file.read_at(buffer, offset),
            Inner::Whole(bytes) => {
                let rest = &bytes[bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX))..];
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            }
            #[cfg(feature = "s3")]
            Inner::S3(blocks) => blocks.read_at(offset, buffer),
        }
    }
}

impl Source {
    /// Reads every byte; returns the unchanged error of the disk or of the network.
    pub(in crate::sink::lake) fn read_through(&self) -> io::Result<()> {
        io::copy(&mut SourceReader { source: self.clone(), offset: 0 }, &mut io::sink()).map(drop)
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Source {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        if let Inner::Whole(bytes) = &self.inner {
            let start = bytes.len().min(usize::try_from(start).unwrap_or(usize::MAX));
            return Ok(HeaderReader::Whole(bytes.slice(start..).reader()));
        }
        Ok(HeaderReader::Pieces(BufReader::new(SourceReader { source: self.clone(), offset: start })))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // The length comes from the file: do not allocate more than the file can have.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of a file of {} bytes", self.bytes)));
        }
        if let Inner::Whole(bytes) = &self.inner {
            return Ok(bytes.slice(start as usize..start as usize + length));
        }
        let mut buffer = vec![0; length];
        SourceReader { source: self.clone(), offset: start }.read_exact(&mut buffer)?;
        Ok(buffer.into())
    }
}

/// Reads the header of a page, whose length is not known before.
pub(in crate::sink::lake) enum HeaderReader {
    Pieces(BufReader<SourceReader>),
    Whole(buf::Reader<Bytes>),
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pieces(reader) => reader.read(buffer),
            Self::Whole(reader) => reader.read(buffer),
        }
    }
}

/// Reads forward from an offset.
#[derive(Debug)]
pub(in crate::sink::lake) struct SourceReader {
    source: Source,
    offset: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(self.offset, buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}
