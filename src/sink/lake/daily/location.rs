//! Where the daily tables are.

use crate::sink::lake::{LakeConfig, LakeError, beside::beside};

const SUFFIX: &str = "-daily";

/// The daily tables of `lake`: at `root`, or beside it.
///
/// # Errors
/// [`LakeError::Root`] if there is no place beside it, because the lake is a whole bucket.
pub fn daily_location(lake: &LakeConfig, root: Option<&str>) -> Result<LakeConfig, LakeError> {
    beside(lake, SUFFIX, root, "name one with --daily")
}
