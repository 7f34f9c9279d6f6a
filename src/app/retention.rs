//! Retention of what is no part of the lake: dead letters, and what was set aside from the spools as damaged.

use std::{
    fs, io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    config::Config,
    dead_letters::Filter,
    event::unix_millis,
    http::Gate,
    limits::LAKE_UPKEEP_HOURLY,
    spool::{RealDisk, remove_quarantined},
};

/// Spools in the data folder.
const SPOOLS: [&str; 2] = ["spool", "dead-letter-spool"];

/// The days for each kind; 0: for ever.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    dead_letters_days: u32,
    quarantine_days: u32,
    data_dir: PathBuf,
}

impl Retention {
    pub(super) fn of(config: &Config) -> Self {
        let retention = &config.lake.retention;
        Self {
            dead_letters_days: retention.dead_letters_days,
            quarantine_days: retention.quarantine_days,
            data_dir: config.data_dir.clone(),
        }
    }

    /// Removes what is too old, once an hour, for ever.
    pub(super) async fn keep(self, gate: Arc<Gate>) {
        loop {
            tokio::time::sleep(LAKE_UPKEEP_HOURLY).await;
            if let Err(error) = self.expire_dead_letters(&gate).await {
                tracing::warn!(%error, "dead letters whose retention is over cannot be removed");
            }
            let (data_dir, days) = (self.data_dir.clone(), self.quarantine_days);
            let expired = tokio::task::spawn_blocking(move || expire_quarantine(&data_dir, days, now_seconds())).await;
            match expired.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                Ok(0) => {}
                Ok(files) => tracing::warn!(files, days, "damaged files were removed, because their retention was over"),
                Err(error) => tracing::warn!(%error, "damaged files whose retention is over cannot be removed"),
            }
        }
    }

    async fn expire_dead_letters(&self, gate: &Gate) -> anyhow::Result<()> {
        if self.dead_letters_days == 0 {
            return Ok(());
        }
        let filter = Filter::parse(
            &["state=any".to_owned(), format!("until={}d", self.dead_letters_days)],
            unix_millis(SystemTime::now()),
        )?;
        let (archive, wanted) = (gate.repair.archive().clone(), filter.clone());
        // A removal begins a new file in each folder: not if there is nothing to remove.
        let mut has_some = false;
        let look = move || {
            archive.visit(&wanted, &mut |_| {
                has_some = true;
                ControlFlow::Break(())
            })?;
            Ok::<_, io::Error>(has_some)
        };
        if tokio::task::spawn_blocking(look).await?? {
            gate.repair.drop_letters(&filter).await?;
        }
        Ok(())
    }
}

fn now_seconds() -> i64 {
    unix_millis(SystemTime::now()) / 1_000
}

/// Removes files from the quarantines that were set aside more than `days` days before `now_seconds`. Returns their number.
fn expire_quarantine(data_dir: &Path, days: u32, now_seconds: i64) -> io::Result<u64> {
    let mut removed = 0;
    for spool in SPOOLS {
        let folder = data_dir.join(spool);
        let entries = match fs::read_dir(folder.join("quarantine")) {
            _ if days == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A file that is set aside keeps the time of its last write; the time of its last change is that of the move.
            if now_seconds - entry.metadata()?.ctime() > i64::from(days) * 86_400 {
                names.extend(entry.file_name().into_string());
            }
        }
        if !names.is_empty() {
            removed += remove_quarantined(&RealDisk, &folder, Some(&names))?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_removed_after_their_days_and_foreign_files_never() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = folder.path().join("spool/quarantine");
        fs::create_dir_all(&quarantine).unwrap();
        for name in ["00000000000000000001.seg", "lost.ndjson", "notes.txt"] {
            fs::write(quarantine.join(name), "x").unwrap();
        }
        let in_days = |days: i64| now_seconds() + days * 86_400;
        assert_eq!(expire_quarantine(folder.path(), 0, in_days(1_000)).unwrap(), 0, "0 is for ever");
        assert_eq!(expire_quarantine(folder.path(), 30, in_days(29)).unwrap(), 0);
        assert_eq!(expire_quarantine(folder.path(), 30, in_days(31)).unwrap(), 2);
        assert_eq!(quarantine.read_dir().unwrap().count(), 1);
    }
}
