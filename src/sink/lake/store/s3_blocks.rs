//! An object of S3, read in large blocks.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use object_store::{ObjectStoreExt, aws::AmazonS3, path::Path};
use tokio::runtime::Runtime;

use crate::limits::{S3_BLOCK_BYTES, S3_BLOCKS_KEPT};

/// The sink calls this from blocking threads of the runtime it runs on.
pub(super) fn block_on<T>(
    runtime: Option<&Arc<Runtime>>,
    request: impl Future<Output = object_store::Result<T>>,
) -> io::Result<T> {
    let answer = match runtime {
        Some(runtime) => runtime.block_on(request),
        None => tokio::runtime::Handle::try_current().map_err(io::Error::other)?.block_on(request),
    };
    answer.map_err(io_error)
}

/// The conversion of `object_store` keeps `NotFound` alone. Whether a name is taken decides who has written a commit.
fn io_error(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::AlreadyExists { .. } => io::Error::new(io::ErrorKind::AlreadyExists, error),
        error => error.into(),
    }
}

/// An object, fetched in large aligned blocks; the last few are cached, because a Parquet reader reads many small pieces near
/// each other, and every request costs a round trip.
#[derive(Debug)]
pub(in crate::sink::lake) struct Blocks {
    pub(super) client: Arc<AmazonS3>,
    pub(super) runtime: Option<Arc<Runtime>>,
    pub(super) key: Path,
    pub(super) bytes: u64,
    pub(super) kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Blocks {
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.bytes {
            return Ok(0);
        }
        let block = self.block(offset / S3_BLOCK_BYTES)?;
        let rest = block.get((offset % S3_BLOCK_BYTES) as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn block(&self, index: u64) -> io::Result<Bytes> {
        // One thread reads a file, so that no other thread waits while the lock is held during the request.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = kept.iter().find(|(at, _)| *at == index) {
            return Ok(block.clone());
        }
        let start = index * S3_BLOCK_BYTES;
        let range = start..self.bytes.min(start + S3_BLOCK_BYTES);
        let block = block_on(self.runtime.as_ref(), self.client.get_range(&self.key, range))?;
        if kept.len() >= S3_BLOCKS_KEPT {
            kept.pop_front();
        }
        kept.push_back((index, block.clone()));
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use object_store::Error;

    use super::*;

    #[test]
    fn a_name_that_is_taken_and_one_that_is_missing_are_told_from_other_errors() {
        let runtime = Arc::new(Runtime::new().unwrap());
        let kind = |error: Error| block_on::<()>(Some(&runtime), async { Err(error) }).unwrap_err().kind();
        let (path, source) = (|| "a".to_owned(), || "no".into());
        assert_eq!(kind(Error::AlreadyExists { path: path(), source: source() }), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(Error::NotFound { path: path(), source: source() }), io::ErrorKind::NotFound);
        assert_eq!(kind(Error::Precondition { path: path(), source: source() }), io::ErrorKind::Other);
    }
}
