//! The storage of the files: a local folder or S3. Writes a file whole, lists folders, opens a file for reading.

mod entries;
mod local;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_blocks;
mod source;
mod unfinished;

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{
    fault::{FaultKind, Operation, fault_kind},
    limits::LAKE_READERS,
};

pub(super) use entries::{Created, FileEntry, Folder};
pub(super) use source::Source;
pub(super) use unfinished::Unfinished;

use super::{LakeConfig, LakeError, partition::Partition, scratch::Scratch};

/// One of the two stores.
#[derive(Debug)]
pub(super) enum Store {
    Local(Arc<local::Local>),
    #[cfg(feature = "s3")]
    S3(s3::S3),
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
            Scheme::S3 => Ok(Self::S3(s3::S3::connect(config, s3::Use::Tool)?)),
            _ => Err(unusable(config)),
        }
    }

    /// For a tool, or for the upkeep: a lake that exists, and that a gateway may be writing to.
    pub(super) fn for_upkeep(config: &LakeConfig) -> Result<Self, LakeError> {
        match scheme(&config.root) {
            Scheme::Local => Ok(Self::Local(Arc::new(local::Local::for_upkeep(&config.root)?))),
            _ => Self::for_reading(config),
        }
    }

    /// For a builder of a table that may not exist yet, beside others that do the same.
    pub(super) fn for_building(config: &LakeConfig) -> Result<Self, LakeError> {
        match scheme(&config.root) {
            Scheme::Local => Ok(Self::Local(Arc::new(local::Local::for_building(&config.root)?))),
            #[cfg(feature = "s3")]
            Scheme::S3 => Ok(Self::S3(s3::S3::connect(config, s3::Use::Tool)?)),
            _ => Err(unusable(config)),
        }
    }

    /// The same store with a folder of it as its root, which is created if it is local.
    pub(super) fn below(&self, folder: &str) -> Result<Self, LakeError> {
        match self {
            Self::Local(local) => Ok(Self::Local(Arc::new(local.below(folder)?))),
            #[cfg(feature = "s3")]
            Self::S3(s3) => Ok(Self::S3(s3.below(folder))),
        }
    }

    /// Writes a file of a partition, whole or not at all, unless its name is taken. Durable on return.
    pub(super) async fn create(&self, partition: &Partition, file_name: &str, file: Bytes) -> Result<Created, String> {
        match self {
            Self::Local(local) => {
                let (local, folder, file_name) = (Arc::clone(local), partition.to_string(), file_name.to_owned());
                let created = tokio::task::spawn_blocking(move || local.create(&folder, &file_name, &file)).await;
                created.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.create(&partition.to_string(), file_name, file).await,
        }
    }

    /// Writes a file in a folder below the root, whole or not at all, unless its name is taken. Two writers of one name never
    /// both succeed: a store without conditional puts is an error. Durable on return. Blocks.
    #[cfg_attr(not(feature = "s3"), allow(clippy::needless_pass_by_value, reason = "S3 takes the bytes"))]
    pub(super) fn create_exclusively(&self, folder: &str, file_name: &str, file: Bytes) -> Result<Created, String> {
        match self {
            Self::Local(local) => local.create(folder, file_name, &file).map_err(|error| error.to_string()),
            #[cfg(feature = "s3")]
            Self::S3(s3) => {
                let path = format!("{folder}/{file_name}");
                s3.create_exclusively(&path, file).map_err(|error| format!("{}: {error}", s3.url_of(&path)))
            }
        }
    }

    /// Writes a file in a folder below the root in place of another. Blocks.
    #[cfg_attr(not(feature = "s3"), allow(clippy::needless_pass_by_value, reason = "S3 takes the bytes"))]
    pub(super) fn replace(&self, folder: &str, file_name: &str, file: Bytes) -> Result<(), String> {
        match self {
            Self::Local(local) => local.replace(folder, file_name, &file).map_err(|error| error.to_string()),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.replace(&format!("{folder}/{file_name}"), file).map_err(|error| error.to_string()),
        }
    }

    /// The bytes of a file below the root. Blocks.
    pub(super) fn read(&self, path: &str) -> io::Result<Bytes> {
        match self {
            Self::Local(local) => local.read(path),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.read(path),
        }
    }

    /// Removes a file below the root, which may be missing. The removal may come back after a power cut. Blocks.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        match self {
            Self::Local(local) => local.remove(path),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.remove(path),
        }
    }

    /// Makes the files found in a partition durable, because their writer may have died before that. Blocks.
    pub(super) fn settle(&self, partition: &Partition) -> Result<(), String> {
        match self {
            Self::Local(local) => local.settle(partition).map_err(|error| error.to_string()),
            #[cfg(feature = "s3")]
            Self::S3(_) => Ok(()),
        }
    }

    /// The files of a partition, empty if the partition is missing. Removes files that a crash left unfinished and whose name
    /// `is_ours`. Blocks.
    pub(super) fn look(&self, partition: &Partition, is_ours: impl Fn(&str) -> bool) -> Result<Vec<FileEntry>, LakeError> {
        match self {
            Self::Local(local) => local.look(partition, is_ours),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3
                .look(&partition.to_string())
                .map_err(|cause| LakeError::Io { path: self.path_of(&partition.to_string()), cause }),
        }
    }

    /// The bytes of a file below the root; `None` if the path does not exist, or is not a file. Blocks.
    pub(super) fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match self {
            Self::Local(local) => local.size(path),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.size(path),
        }
    }

    /// Whether the store is a local folder.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Whether a file that cannot be read because of this error may be readable later, unchanged.
    pub(super) fn is_passing(&self, error: &io::Error) -> bool {
        match self {
            Self::Local(_) => fault_kind(error, Operation::Read) == FaultKind::Transient,
            // Objects do not decay, but the network may fail. A gateway without the right to read still writes.
            #[cfg(feature = "s3")]
            Self::S3(_) => !s3::is_forbidden(error),
        }
    }

    /// Whether this program lacks the right, in a bucket, for what failed with this error.
    pub(super) fn is_forbidden(&self, error: &LakeError) -> bool {
        match (self, error) {
            #[cfg(feature = "s3")]
            (Self::S3(_), LakeError::Io { cause, .. }) => s3::is_forbidden(cause),
            _ => false,
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

    /// Opens a file below the root; `bytes` is the size in the listing. Blocks, as its reads do.
    pub(super) fn open(&self, path: &str, bytes: u64) -> io::Result<Source> {
        match self {
            Self::Local(local) => local.open(path, bytes),
            #[cfg(feature = "s3")]
            Self::S3(s3) => Ok(s3.open(path, bytes)),
        }
    }

    /// The path of a file, if it is a local one.
    pub(super) fn local_path(&self, path: &str) -> Option<PathBuf> {
        match self {
            Self::Local(local) => Some(local.root().join(path)),
            #[cfg(feature = "s3")]
            Self::S3(_) => None,
        }
    }

    /// The folder of unfinished files in a local lake.
    pub(super) fn temp_folder(&self) -> Option<PathBuf> {
        match self {
            Self::Local(local) => Some(local.temp_folder()),
            #[cfg(feature = "s3")]
            Self::S3(_) => None,
        }
    }

    /// A new file that shall be called `file_name`. Blocks.
    #[cfg_attr(not(feature = "s3"), allow(unused_variables, reason = "only S3 has nowhere to write"))]
    pub(super) fn unfinished(&self, file_name: &str, scratch: &Scratch) -> io::Result<Unfinished> {
        match self {
            Self::Local(local) => {
                let (path, file) = local.unfinished(file_name)?;
                Ok(Unfinished { file, path: Some(path) })
            }
            #[cfg(feature = "s3")]
            Self::S3(_) => Ok(Unfinished { file: scratch.file()?, path: None }),
        }
    }

    /// Moves a complete file to its partition, unless its name is taken. Durable on return. Blocks.
    pub(super) fn finish(&self, partition: &Partition, file_name: &str, mut file: Unfinished) -> io::Result<()> {
        match self {
            Self::Local(local) => {
                let path = file.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
                match local.finish(partition, file_name, path, &file.file)? {
                    Created::New => file.path = None,
                    Created::Taken => return Err(io::ErrorKind::AlreadyExists.into()),
                }
                Ok(())
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.upload(&format!("{partition}/{file_name}"), &mut file.file),
        }
    }

    /// Number of files to open at one time.
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
