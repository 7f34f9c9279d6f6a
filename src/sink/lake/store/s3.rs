//! A lake in S3, or in a compatible store.

use std::{
    fs::File,
    io::{self, Read, Seek},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use object_store::{
    ClientOptions, Error, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use tokio::runtime::Runtime;

use super::{
    entries::{Created, FileEntry, Folder},
    s3_blocks::{Blocks, block_on},
    source::Source,
};
use crate::limits::{S3_REQUEST_TIMEOUT, S3_UPLOAD_PART_BYTES};
use crate::sink::lake::{LakeConfig, LakeError};

/// The purpose of the open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// By a tool: requests are retried, and run on a runtime of their own.
    Tool,
    /// By the sink.
    Write,
}

/// A bucket, and the prefix of the lake in it.
#[derive(Debug)]
pub(in crate::sink::lake) struct S3 {
    client: Arc<AmazonS3>,
    bucket: String,
    prefix: Path,
    /// Runs the reader's requests, which block; the sink's requests run on the caller's runtime.
    runtime: Option<Arc<Runtime>>,
}

impl S3 {
    pub(super) fn connect(config: &LakeConfig, purpose: Use) -> Result<Self, LakeError> {
        // An empty value in a configuration file means that none is given.
        let given = |value: &'_ Option<String>| value.clone().filter(|value| !value.is_empty());
        let error = |reason: String| LakeError::Root { root: config.root.clone(), reason };
        let path = config.root.strip_prefix("s3://").unwrap_or(&config.root);
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let prefix = Path::parse(prefix).map_err(|cause| error(cause.to_string()))?;
        let mut options = ClientOptions::new().with_timeout(S3_REQUEST_TIMEOUT);
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        if let Some(endpoint) = given(&config.s3_endpoint) {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = given(&config.s3_region) {
            builder = builder.with_region(region);
        }
        if config.s3_allow_http {
            options = options.with_allow_http(true);
        }
        if purpose == Use::Write {
            // A sink does not retry: the deliverer does, and counts the retries.
            builder = builder.with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        }
        let client = builder.with_client_options(options).build().map_err(|cause| error(cause.to_string()))?;
        let runtime = match purpose {
            Use::Write => None,
            Use::Tool => {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                Some(Arc::new(runtime.map_err(|cause| error(cause.to_string()))?))
            }
        };
        Ok(Self { client: Arc::new(client), bucket: bucket.to_owned(), prefix, runtime })
    }

    /// The same store with a folder of it as its root.
    pub(super) fn below(&self, folder: &str) -> Self {
        let Self { client, bucket, runtime, .. } = self;
        let prefix = self.key_of(folder);
        Self { client: Arc::clone(client), bucket: bucket.clone(), prefix, runtime: runtime.clone() }
    }

    /// See [`Store::create`](super::Store::create). S3 shows an object only when its upload is complete.
    pub(super) async fn create(&self, folder: &str, file_name: &str, file: Bytes) -> Result<Created, String> {
        let key = self.key_of(folder).join(file_name);
        let create = PutOptions::from(PutMode::Create);
        match self.client.put_opts(&key, file.clone().into(), create).await {
            Ok(_) => Ok(Created::New),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Taken),
            Err(error) if is_unknown_to_store(&error) => match self.client.head(&key).await {
                Ok(_) => Ok(Created::Taken),
                // A race with another gateway remains.
                Err(Error::NotFound { .. }) => {
                    let put = self.client.put(&key, file.into()).await;
                    put.map(|_| Created::New).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    /// Uploads a file, in parts if it is large; the object appears when it is complete.
    pub(super) fn upload(&self, path: &str, file: &mut File) -> io::Result<()> {
        let key = self.key_of(path);
        file.rewind()?;
        let mut next_part = || {
            let mut part = Vec::new();
            file.by_ref().take(S3_UPLOAD_PART_BYTES).read_to_end(&mut part).map(|_| part)
        };
        let first = next_part()?;
        let second = next_part()?;
        if second.is_empty() {
            return self.block_on(self.client.put(&key, first.into())).map(drop);
        }
        let mut upload = self.block_on(self.client.put_multipart(&key))?;
        let uploaded = (|| {
            let mut part = second;
            self.block_on(upload.put_part(first.into()))?;
            while !part.is_empty() {
                self.block_on(upload.put_part(part.into()))?;
                part = next_part()?;
            }
            self.block_on(upload.complete())
        })();
        if uploaded.is_err() {
            // Otherwise its parts stay, and cost, until a rule of the bucket removes them.
            let _ = self.block_on(upload.abort());
        }
        uploaded.map(drop)
    }

    /// The files of a partition; empty if this gateway may write but not list.
    pub(super) fn look(&self, partition: &str) -> io::Result<Vec<FileEntry>> {
        match self.list(partition) {
            Err(error) if is_forbidden(&error) => Ok(Vec::new()),
            listed => listed.map(|listed| listed.files),
        }
    }

    pub(super) fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match self.block_on(self.client.head(&self.key_of(path))) {
            Ok(object) => Ok(Some(object.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&self, folder: &str) -> io::Result<Folder> {
        let prefix = self.key_of(folder);
        let listed = self.block_on(self.client.list_with_delimiter(Some(&prefix)))?;
        let name = |path: &Path| path.filename().unwrap_or_default().to_owned();
        let entry = |object: &ObjectMeta| FileEntry {
            name: name(&object.location),
            bytes: object.size,
            modified_millis: object.last_modified.timestamp_millis(),
        };
        Ok(Folder {
            folders: listed.common_prefixes.iter().map(name).collect(),
            files: listed.objects.iter().map(entry).collect(),
        })
    }

    /// Creates an object only if its name is free, in a store that can do that.
    pub(super) fn create_exclusively(&self, path: &str, file: Bytes) -> io::Result<Created> {
        let create = PutOptions::from(PutMode::Create);
        match self.block_on(self.client.put_opts(&self.key_of(path), file.into(), create)) {
            Ok(_) => Ok(Created::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Taken),
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&self, path: &str) -> io::Result<Bytes> {
        let key = self.key_of(path);
        self.block_on(async { self.client.get(&key).await?.bytes().await })
    }

    pub(super) fn replace(&self, path: &str, file: Bytes) -> io::Result<()> {
        self.block_on(self.client.put(&self.key_of(path), file.into())).map(drop)
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        match self.block_on(self.client.delete(&self.key_of(path))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(super) fn open(&self, path: &str, bytes: u64) -> Source {
        let blocks = Blocks {
            client: Arc::clone(&self.client),
            runtime: self.runtime.clone(),
            key: self.key_of(path),
            bytes,
            kept: Mutex::default(),
        };
        Source::s3(blocks, bytes)
    }

    pub(super) fn url_of(&self, path: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key_of(path))
    }

    fn key_of(&self, path: &str) -> Path {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), Path::join)
    }

    fn block_on<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        block_on(self.runtime.as_ref(), request)
    }
}

/// Whether this gateway lacks the right for the request.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }))
}

/// Whether the store does not support conditional puts, as some S3-compatible stores do not.
fn is_unknown_to_store(error: &Error) -> bool {
    matches!(error, Error::Generic { .. } | Error::NotImplemented { .. }) && error.to_string().contains("NotImplemented")
}
