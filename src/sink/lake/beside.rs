//! Where tables are that are made from a lake: in a folder beside it.

use super::{LakeConfig, LakeError, TableFormat};

/// The tables of `lake` at `root`, or, without one, in the folder with the name of the lake and `suffix`. `how` says how to name
/// another place.
///
/// # Errors
/// [`LakeError::Root`] if there is no place beside the lake, because it is a whole bucket.
pub(super) fn beside(lake: &LakeConfig, suffix: &str, root: Option<&str>, how: &str) -> Result<LakeConfig, LakeError> {
    let with_suffix = || {
        let trimmed = lake.root.trim_end_matches('/');
        let is_bucket = trimmed.split_once("://").is_some_and(|(_, path)| !path.contains('/'));
        if is_bucket || trimmed.is_empty() {
            let reason = format!("has no prefix, so there is no place beside it: {how}");
            return Err(LakeError::Root { root: lake.root.clone(), reason });
        }
        Ok(format!("{trimmed}{suffix}"))
    };
    let root = root.map_or_else(with_suffix, |root| Ok(root.trim_end_matches('/').to_owned()))?;
    Ok(LakeConfig { root, table: TableFormat::Delta, ..lake.clone() })
}
