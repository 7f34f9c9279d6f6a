//! Where the typed tables are.

use crate::sink::lake::{LakeConfig, LakeError, TableFormat, views::plain};

const SUFFIX: &str = "-typed";

/// The typed tables of `lake`: at `root`, or beside it.
///
/// # Errors
/// [`LakeError::Root`] if there is no place beside it, because the lake is a whole bucket.
pub fn typed_location(lake: &LakeConfig, root: Option<&str>) -> Result<LakeConfig, LakeError> {
    let beside = || {
        let trimmed = lake.root.trim_end_matches('/');
        let is_bucket = trimmed.split_once("://").is_some_and(|(_, path)| !path.contains('/'));
        if is_bucket || trimmed.is_empty() {
            let reason = "has no prefix, so there is no place beside it: set [lake.typed] root".to_owned();
            return Err(LakeError::Root { root: lake.root.clone(), reason });
        }
        Ok(format!("{trimmed}{SUFFIX}"))
    };
    let root = root.map_or_else(beside, |root| Ok(root.trim_end_matches('/').to_owned()))?;
    Ok(LakeConfig { root, table: TableFormat::Delta, ..lake.clone() })
}

/// The folder of the table of an event name, if no other table has it.
#[must_use]
pub fn typed_folder(event_name: &str) -> String {
    plain(event_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_tables_are_beside_the_lake_and_a_whole_bucket_has_nothing_beside_it() {
        let at = |root: &str, typed: Option<&str>| typed_location(&LakeConfig::at(root), typed).map(|location| location.root);
        assert_eq!(at("data/lake/", None).unwrap(), "data/lake-typed");
        assert_eq!(at("s3://bucket/a/lake", None).unwrap(), "s3://bucket/a/lake-typed");
        assert_eq!(at("s3://bucket", Some("s3://other/typed/")).unwrap(), "s3://other/typed");
        assert!(at("s3://bucket/", None).unwrap_err().to_string().contains("[lake.typed] root"));
    }
}
