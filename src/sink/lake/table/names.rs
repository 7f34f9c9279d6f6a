//! The names in the log's folder.

/// The folder of the log, below the root.
pub(in crate::sink::lake) const LOG_FOLDER: &str = "_delta_log";

/// Folder of what the upkeep remembers, below the root of the lake.
pub(in crate::sink::lake) const OWN_FOLDER: &str = "_lakegate";

/// Tells readers of the newest checkpoint, so that they need not list all of the log.
pub(super) const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// The files of the log that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sink::lake) enum LogName {
    /// The actions of one version.
    Commit(u64),
    /// All that is live at a version, in so many parts: this is part number `part`, from 1.
    Checkpoint { version: u64, part: u32, parts: u32 },
}

impl LogName {
    /// Parses the name of a file in the log's folder; `None` for any other file.
    pub(in crate::sink::lake) fn parse(name: &str) -> Option<Self> {
        let version = name.get(..20).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
        let number = |text: &str| text.parse::<u32>().ok();
        match name.get(20..)?.split('.').collect::<Vec<_>>().as_slice() {
            ["", "json"] => Some(Self::Commit(version)),
            ["", "checkpoint", "parquet"] => Some(Self::Checkpoint { version, part: 1, parts: 1 }),
            ["", "checkpoint", part, parts, "parquet"] => {
                Some(Self::Checkpoint { version, part: number(part)?, parts: number(parts)? })
            }
            _ => None,
        }
    }

    /// The version that the file is about.
    pub(in crate::sink::lake) fn version(self) -> u64 {
        match self {
            Self::Commit(version) | Self::Checkpoint { version, .. } => version,
        }
    }
}

/// Name of a commit.
pub(super) fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// Path of a commit below the root.
pub(super) fn commit_path(version: u64) -> String {
    format!("{LOG_FOLDER}/{}", commit_name(version))
}

/// Name of a checkpoint in one part.
pub(super) fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

/// Name of a checkpoint's part.
pub(super) fn checkpoint_part_name(version: u64, part: u32, parts: u32) -> String {
    match parts {
        1 => checkpoint_name(version),
        _ => format!("{version:020}.checkpoint.{part:010}.{parts:010}.parquet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_log_are_read_as_they_are_written_and_others_are_ignored() {
        assert_eq!(LogName::parse(&commit_name(7)), Some(LogName::Commit(7)));
        assert_eq!(LogName::parse(&checkpoint_name(100)), Some(LogName::Checkpoint { version: 100, part: 1, parts: 1 }));
        let part = LogName::Checkpoint { version: 100, part: 2, parts: 3 };
        assert_eq!(LogName::parse(&checkpoint_part_name(100, 2, 3)), Some(part));
        for other in ["_last_checkpoint", "00000000000000000007.crc", "7.json", "00000000000000000007.json.tmp", "x", ""] {
            assert_eq!(LogName::parse(other), None, "{other}");
        }
        assert_eq!(LogName::parse("00000000000000000100.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet"), None);
    }
}
