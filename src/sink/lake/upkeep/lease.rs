//! The lease of the upkeep: of a fleet that shares a lake in S3, one gateway at a time does it.
//!
//! ```text
//! <root>/_lakegate/upkeep-<number:020>     the gateway that created the newest one has the lease, for LAKE_LEASE after that
//! ```
//!
//! A gateway takes the lease with the next number, which a conditional put gives to one of several. The lease saves work; it
//! protects nothing, because the log does that: a gateway that wrongly believes to have it loses its commits to the other.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Upkeep, UpkeepError};
use crate::{
    event::unix_millis,
    limits::LAKE_LEASE,
    sink::lake::{store::Created, table::OWN_FOLDER as FOLDER},
};

const PREFIX: &str = "upkeep-";
/// Numbers that stay: the newest, and the one before, so that a slow gateway does not find its number free again.
const KEPT: u64 = 2;

/// A gateway's part in the lease of a lake.
#[derive(Debug)]
pub(super) struct Lease {
    owner: Uuid,
    /// The number that this gateway created last.
    number: Option<u64>,
}

impl Lease {
    pub(super) fn new() -> Self {
        Self { owner: Uuid::new_v4(), number: None }
    }

    /// Takes or renews the lease. Returns whether this gateway has it.
    pub(super) fn take(&mut self, upkeep: &Upkeep) -> Result<bool, UpkeepError> {
        let Some((number, modified_millis)) = newest(upkeep)? else { return self.create(upkeep, 0) };
        let age = unix_millis(SystemTime::now()).saturating_sub(modified_millis);
        let lease = LAKE_LEASE.as_millis() as i64;
        if self.number == Some(number) {
            // Renewed at half of its time, so that a healthy owner keeps it.
            return if age * 2 < lease { Ok(true) } else { self.create(upkeep, number + 1) };
        }
        if age < lease { Ok(false) } else { self.create(upkeep, number + 1) }
    }

    /// Gives the lease back, so that another gateway need not wait. Best effort.
    pub(super) fn give_back(&mut self, upkeep: &Upkeep) {
        if let Some(number) = self.number.take()
            && newest(upkeep).is_ok_and(|newest| newest.is_some_and(|(newest, _)| newest == number))
        {
            let _ = upkeep.store.remove(&path_of(number));
        }
    }

    fn create(&mut self, upkeep: &Upkeep, number: u64) -> Result<bool, UpkeepError> {
        self.number = None;
        let name = name_of(number);
        let created = upkeep.store.create_exclusively(FOLDER, &name, format!("{}\n", self.owner).into());
        if created.map_err(|error| UpkeepError::files(FOLDER, error))? == Created::Taken {
            return Ok(false);
        }
        // A slow gateway may have created a number that was removed before.
        if newest(upkeep)?.is_none_or(|(newest, _)| newest != number) {
            let _ = upkeep.store.remove(&path_of(number));
            return Ok(false);
        }
        self.number = Some(number);
        if let Some(old) = number.checked_sub(KEPT) {
            let _ = upkeep.store.remove(&path_of(old));
        }
        Ok(true)
    }
}

fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

fn path_of(number: u64) -> String {
    format!("{FOLDER}/{}", name_of(number))
}

/// The newest number, and when it was created.
fn newest(upkeep: &Upkeep) -> Result<Option<(u64, i64)>, UpkeepError> {
    let files = upkeep.list(FOLDER)?.unwrap_or_default().files;
    let numbered = files.iter().filter_map(|file| Some((file.name.strip_prefix(PREFIX)?.parse().ok()?, file.modified_millis)));
    Ok(numbered.max())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;
    use crate::sink::lake::{LakeConfig, store::Store, table::Table};

    /// On a local lake: the conditional put is all that the lease needs of a store.
    #[test]
    fn one_has_the_lease_until_it_expires_or_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let config = LakeConfig::at(folder.path().to_str().unwrap());
        Table::open_or_create(std::sync::Arc::new(Store::for_writing(&config).unwrap()), &[]).unwrap();
        let upkeep = Upkeep::open(&config, folder.path().to_owned()).unwrap().unwrap();
        let age = |number: u64, age: Duration| {
            let file = File::options().write(true).open(folder.path().join(path_of(number))).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let (mut first, mut second) = (Lease::new(), Lease::new());
        assert!(first.take(&upkeep).unwrap() && !second.take(&upkeep).unwrap() && first.take(&upkeep).unwrap());
        assert_eq!(first.number, Some(0));
        // Renewed in time, it stays.
        age(0, LAKE_LEASE * 3 / 4);
        assert!(!second.take(&upkeep).unwrap() && first.take(&upkeep).unwrap());
        assert_eq!(first.number, Some(1));
        // Expired, it is stolen, and its owner notices.
        age(1, LAKE_LEASE * 2);
        assert!(second.take(&upkeep).unwrap() && !first.take(&upkeep).unwrap());
        second.give_back(&upkeep);
        assert!(newest(&upkeep).unwrap().is_some_and(|(newest, _)| newest == 1), "the numbers go on");
        age(1, LAKE_LEASE * 2);
        assert!(first.take(&upkeep).unwrap() && !second.take(&upkeep).unwrap());
        assert!(!folder.path().join(path_of(0)).exists(), "old numbers are removed");
    }
}
