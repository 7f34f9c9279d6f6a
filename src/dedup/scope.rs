//! The secret that scopes the identities of browser keys: created at the first start, stored, and shared by a fleet.
//!
//! ```text
//! <data>/dedup/secret   64 hexadecimal digits and a line end, readable by its owner alone
//! ```
//!
//! The file is beside the runs, because they are useless without it. If it is missing or unreadable, a new secret is created,
//! and the browser events that the window knows are fresh again. In a fleet the store's secret wins; see `fleet.rs`.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::{Identity, identity::differ};
use crate::{
    durable,
    event::{Record, ScopeSecret},
};

const FILE: &str = "secret";
const DAMAGED: &str = "secret.damaged";

impl Identity {
    /// The identity of an event, with its payload's fingerprint, within the scope of `browser_key` or of all server keys.
    #[must_use]
    pub fn scoped(self, secret: &ScopeSecret, browser_key: Option<&str>) -> Self {
        Self { id: secret.identity(self.id, browser_key), ..self }
    }

    /// The identity to claim for a record, computed from the record alone.
    #[must_use]
    pub fn of(record: &Record, secret: &ScopeSecret) -> Self {
        if let Some(letter) = record.replay_of() {
            // The record's own identity is known since it was first accepted.
            return Self::unknown(letter);
        }
        Self { id: record.identity(secret), fingerprint: Self::fingerprint(record.payload()) }
    }

    /// The fingerprint of a payload's bytes. It does not resist an attacker who wants two payloads to look alike. It need not,
    /// because it only detects senders' mistakes.
    #[must_use]
    pub fn fingerprint(payload: &[u8]) -> u32 {
        crc32c::crc32c(payload)
    }

    /// Whether their payloads certainly differ.
    #[must_use]
    pub fn differs_from(self, other: Self) -> bool {
        differ(self.fingerprint, other.fingerprint)
    }
}

/// The secret in use. Clones share it.
#[derive(Clone)]
pub struct Scopes(Arc<Inner>);

struct Inner {
    secret: ArcSwap<ScopeSecret>,
    /// The folder that stores the secret; `None` in tests.
    folder: Option<PathBuf>,
}

impl Scopes {
    /// Reads the secret in `folder`, or creates it. It is durable before it is used.
    ///
    /// # Errors
    /// The disk's I/O error.
    pub fn open(folder: &Path) -> io::Result<Self> {
        durable::make_folder(folder)?;
        let path = folder.join(FILE);
        let kept = match fs::read_to_string(&path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::make(folder),
            Err(error) => return Err(error),
        };
        match kept {
            Some(secret) => Ok(Self::of(secret, Some(folder.to_owned()))),
            None => {
                fs::rename(&path, folder.join(DAMAGED))?;
                tracing::error!(
                    path = %path.display(),
                    "the dedup secret cannot be read: it is set aside, and a new one is made; \
                     an event that a browser key sent before may be accepted once more"
                );
                Self::make(folder)
            }
        }
    }

    fn make(folder: &Path) -> io::Result<Self> {
        let secret = ScopeSecret::random();
        write(folder, &secret)?;
        Ok(Self::of(secret, Some(folder.to_owned())))
    }

    /// A random secret that is not stored.
    #[must_use]
    pub fn random() -> Self {
        Self::of(ScopeSecret::random(), None)
    }

    fn of(secret: ScopeSecret, folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { secret: ArcSwap::from_pointee(secret), folder }))
    }

    /// The secret at this moment.
    #[must_use]
    pub fn secret(&self) -> Arc<ScopeSecret> {
        self.0.secret.load_full()
    }

    /// Uses the fleet's secret from now on, and stores it. Blocks on the disk. Earlier claims stay known under the old secret
    /// only.
    ///
    /// # Errors
    /// The disk's I/O error. The secret is in use, and the next start asks the store for it again.
    pub(super) fn adopt(&self, secret: ScopeSecret) -> io::Result<()> {
        let kept = self.0.folder.as_deref().map_or(Ok(()), |folder| write(folder, &secret));
        self.0.secret.store(Arc::new(secret));
        kept
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scopes(…)")
    }
}

/// Replaces the file as a whole; only its owner can read it.
fn write(folder: &Path, secret: &ScopeSecret) -> io::Result<()> {
    let digits: String = secret.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    durable::replace_file(&folder.join(FILE), format!("{digits}\n").as_bytes())
}

fn parse(text: &str) -> Option<ScopeSecret> {
    let digits = text.strip_suffix('\n')?;
    if digits.len() != 2 * ScopeSecret::BYTES || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; ScopeSecret::BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(ScopeSecret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_is_its_owners() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("dedup");
        let made = Scopes::open(&folder).unwrap().secret();
        assert_eq!(Scopes::open(&folder).unwrap().secret(), made);
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(Scopes::open(&root.path().join("other")).unwrap().secret(), made);
    }

    #[test]
    fn a_secret_that_is_none_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let kept = format!("{}\n", "5a".repeat(32));
        for damaged in ["", "\n", &kept[1..], kept.trim_end(), &kept.replace('5', "x"), "\u{0}\u{0}"] {
            fs::write(folder.path().join(FILE), damaged).unwrap();
            let made = Scopes::open(folder.path()).unwrap().secret();
            assert_eq!(fs::read_to_string(folder.path().join(DAMAGED)).unwrap(), damaged);
            assert_eq!(Scopes::open(folder.path()).unwrap().secret(), made, "{damaged:?}");
        }
        fs::write(folder.path().join(FILE), [0xff; 65]).unwrap();
        Scopes::open(folder.path()).unwrap();
        fs::write(folder.path().join(FILE), &kept).unwrap();
        assert_eq!(*Scopes::open(folder.path()).unwrap().secret(), ScopeSecret::new([0x5a; 32]));
    }

    #[test]
    fn the_fleets_secret_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let scopes = Scopes::open(folder.path()).unwrap();
        let same = scopes.clone();
        scopes.adopt(ScopeSecret::new([9; 32])).unwrap();
        assert_eq!(*same.secret(), ScopeSecret::new([9; 32]));
        assert_eq!(*Scopes::open(folder.path()).unwrap().secret(), ScopeSecret::new([9; 32]));
    }
}
