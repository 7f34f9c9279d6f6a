//! Where files are: a local folder or S3. Writes a file whole, lists folders, opens a file for reading.

mod local;
#[cfg(feature = "s3")]
mod s3;
mod source;

use std::{io, sync::Arc};

use crate::limits::LAKE_READERS;

pub(super) use source::Source;

use super::{LakeConfig, LakeError, partition::Partition};

/// Either kind of store.
#[derive(Debug)]
pub(super) enum Store {
    Local(Arc<local::Local>),
    #[cfg(feature = "s3")]
    S3(s3::S3),
}

/// A file of a partition.
#[derive(Clone, Debug)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// What a folder directly holds, by name and sorted.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<FileEntry>,
}

impl Store {
    pub(super) fn for_writing(config: &LakeConfig) -> Result<Self, LakeError> {
        match scheme(&config.root) {
            Scheme::Local => Ok(Self::Local(Arc::new(local::Local::for_writing(&config.root)?))),
            #[cfg(feature = "s3")]
            Scheme::S3 => Ok(Self::S3(s3::S3::connect(config, s3::Use::Write)?)),
            _ => Err(unusable(config)),
        }
    }

    pub(super) fn for_reading(config: &LakeConfig) -> Result<Self, LakeError> {
        match scheme(&config.root) {
            Scheme::Local => Ok(Self::Local(Arc::new(local::Local::for_reading(&config.root)?))),
            #[cfg(feature = "s3")]
            Scheme::S3 => Ok(Self::S3(s3::S3::connect(config, s3::Use::Read)?)),
            _ => Err(unusable(config)),
        }
    }

    /// Writes a file of a partition, whole or not at all, over one of the same name. Durable once this returns.
    pub(super) async fn put(&self, partition: &Partition, file_name: &str, file: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Local(local) => {
                let (local, partition, file_name) = (Arc::clone(local), partition.clone(), file_name.to_owned());
                let written = tokio::task::spawn_blocking(move || local.put(&partition, &file_name, &file)).await;
                written.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.put(partition, file_name, file).await,
        }
    }

    /// Lists a folder below the root; the root itself is `""`. Blocks.
    pub(super) fn list(&self, folder: &str) -> Result<Folder, LakeError> {
        let listed = match self {
            Self::Local(local) => local.list(folder),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.list(folder),
        };
        let mut listed = listed.map_err(|cause| LakeError::Io { path: self.path_of(folder), cause })?;
        listed.folders.sort_unstable();
        listed.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Opens a file below the root, of the size that the listing said. Blocks, as its reads do.
    pub(super) fn open(&self, path: &str, bytes: u64) -> io::Result<Source> {
        match self {
            Self::Local(local) => local.open(path, bytes),
            #[cfg(feature = "s3")]
            Self::S3(s3) => Ok(s3.open(path, bytes)),
        }
    }

    /// Files worth looking into at one time.
    pub(super) fn readers(&self) -> usize {
        match self {
            Self::Local(_) => LAKE_READERS.0,
            #[cfg(feature = "s3")]
            Self::S3(_) => LAKE_READERS.1,
        }
    }

    fn path_of(&self, folder: &str) -> String {
        match self {
            Self::Local(local) => local.root().join(folder).display().to_string(),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.url_of(folder),
        }
    }
}

enum Scheme {
    Local,
    S3,
    Other,
}

fn scheme(root: &str) -> Scheme {
    match root.split_once("://") {
        None if root.is_empty() => Scheme::Other,
        None => Scheme::Local,
        Some(("s3", _)) => Scheme::S3,
        Some(_) => Scheme::Other,
    }
}

fn unusable(config: &LakeConfig) -> LakeError {
    let reason = match scheme(&config.root) {
        Scheme::S3 => "this build cannot write to S3; build lakegate with `--features s3`",
        _ => "a folder, or s3://bucket/prefix, is expected",
    };
    LakeError::Root { root: config.root.clone(), reason: reason.to_owned() }
}
