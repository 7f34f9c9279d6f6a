//! The location of a lake.

/// The location of a lake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LakeConfig {
    /// A local folder, or `s3://bucket/prefix`.
    pub root: String,
    /// S3 endpoint other than AWS's own, such as `http://127.0.0.1:9000`; if absent, `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
    /// S3 region; if absent, `AWS_REGION`.
    pub s3_region: Option<String>,
    /// Whether the endpoint may be plain HTTP.
    pub s3_allow_http: bool,
    /// What tells readers which files are the lake.
    pub table: TableFormat,
}

/// What tells readers which files are the lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableFormat {
    /// A Delta Lake log.
    #[default]
    Delta,
    /// Nothing: every file in the folders belongs to it.
    None,
}

impl LakeConfig {
    /// The lake at `root`, everything else from the environment.
    #[must_use]
    pub fn at(root: impl Into<String>) -> Self {
        Self { root: root.into(), ..Self::default() }
    }
}
