//! Where the typed tables are.

use crate::sink::lake::{LakeConfig, LakeError, beside::beside, views::plain};

const SUFFIX: &str = "-typed";

/// The typed tables of `lake`: at `root`, or beside it.
///
/// # Errors
/// [`LakeError::Root`] if there is no place beside it, because the lake is a whole bucket.
pub fn typed_location(lake: &LakeConfig, root: Option<&str>) -> Result<LakeConfig, LakeError> {
    beside(lake, SUFFIX, root, "set [lake.typed] root")
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
