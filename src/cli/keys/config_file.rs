//! The configuration file, held for a change: no other command changes it meanwhile, and it is replaced whole or not at all.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context, bail};

use super::document;
use crate::{
    cli::configuration,
    config::{self, Config, KeyConfig},
    durable,
    limits::{CONFIG_LOCK_PAUSE, CONFIG_LOCK_WAIT},
};

/// A configuration file that only this process changes.
pub(super) struct ConfigFile {
    /// Behind all symbolic links.
    path: PathBuf,
    text: String,
    /// What the file and the environment say.
    pub(super) config: Config,
    /// The folder of the file is locked until this is dropped. The file itself cannot be, because it is replaced.
    _lock: File,
}

impl ConfigFile {
    /// Locks and reads `named`, or the file that the environment names.
    pub(super) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(variable) = config::keys_variable(std::env::vars()) {
            bail!(
                "the keys come from the variable {variable}, not from a file: change it there; `lakegate keys rotate NAME --print` \
                 prints the lines"
            );
        }
        let Some(named) = configuration::file(named) else {
            bail!("no configuration file is named; --config FILE names it, or the variable LAKEGATE_CONFIG");
        };
        let path = fs::canonicalize(&named).with_context(|| named.display().to_string())?;
        let lock = lock(path.parent().unwrap_or(Path::new("/")))?;
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let config = config::parse(Some(&path), &text, std::env::vars())?;
        Ok(Self { path, text, config, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key with this name.
    pub(super) fn key(&self, name: &str) -> anyhow::Result<&KeyConfig> {
        find(&self.config, name)
    }

    /// Changes one key, and nothing else. The new text is read as the gateway would read it before it replaces the old one.
    pub(super) fn change(&self, before: &KeyConfig, after: &KeyConfig) -> anyhow::Result<()> {
        let path = self.path.display();
        let text = document::with_key(&self.text, before, after).with_context(|| path.to_string())?;
        let mut expected = self.config.clone();
        expected.keys.iter_mut().filter(|key| *key == before).for_each(|key| *key = after.clone());
        if config::parse(Some(&self.path), &text, std::env::vars())? != expected {
            bail!("{path}: the key is written in a way that this command cannot change; `rotate --print` prints the new lines");
        }
        if fs::read_to_string(&self.path).with_context(|| path.to_string())? != self.text {
            bail!("{path} was changed meanwhile; nothing was written, try again");
        }
        durable::replace_keeping_owner(&self.path, text.as_bytes()).with_context(|| format!("{path} cannot be replaced"))
    }
}

/// The key of a configuration with this name.
pub(super) fn find<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a KeyConfig> {
    if config.keys.is_empty() {
        bail!("the configuration has no keys; `lakegate keys new {name}` prints the lines of one");
    }
    let found = config.keys.iter().find(|key| key.name == name);
    let names = || config.keys.iter().map(|key| key.name.as_str()).take(20).collect::<Vec<_>>().join(", ");
    found.with_context(|| format!("the configuration has no key {name:?}; it has: {}", names()))
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let started = Instant::now();
    let file = File::open(folder).with_context(|| folder.display().to_string())?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < CONFIG_LOCK_WAIT => thread::sleep(CONFIG_LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let seconds = CONFIG_LOCK_WAIT.as_secs();
                bail!("another process has held the folder {} for {seconds} s; nothing was changed", folder.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("the folder {} cannot be locked", folder.display()));
            }
        }
    }
}
