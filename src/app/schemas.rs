//! Replaces the registry while the gateway runs: compiles the new one as a whole, then swaps it in one step.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::process::setpriority_process;

use super::difference::Difference;
use crate::{
    config::SchemasConfig,
    http::Gate,
    limits::{RELOAD_NAMES_LOGGED_MAX, SCHEMA_LOOK_INTERVAL},
    schema::{self, FolderStamp, LoadError, Registry},
};

/// Niceness of the compiling thread. It uses the processor time that requests leave.
const NICENESS: i32 = 10;

/// The folder of the registry, checked periodically.
pub(super) struct Schemas {
    dir: PathBuf,
    /// Whether changes take effect automatically.
    is_watched: bool,
    state: Mutex<State>,
}

struct State {
    /// The stamp of the folder at the last compilation, successful or not.
    tried: Option<FolderStamp>,
    /// Previous registries. Freeing a thousand schemas takes milliseconds, which must not delay a request: they are kept until
    /// no request uses them.
    retired: Vec<Arc<Registry>>,
}

/// A registry that is ready to use.
pub(super) struct Compiled {
    registry: Registry,
    stamp: Option<FolderStamp>,
}

impl Schemas {
    /// For a folder that was just loaded.
    pub(super) fn new(config: &SchemasConfig, stamp: Option<FolderStamp>) -> Self {
        Self { dir: config.dir.clone(), is_watched: config.watch, state: Mutex::new(State { tried: stamp, retired: Vec::new() }) }
    }

    /// Compiles the current contents of the folder.
    pub(super) fn compile(&self) -> anyhow::Result<Compiled> {
        let stamp = FolderStamp::of(&self.dir);
        Ok(Compiled { registry: compile_aside(self.dir.clone())??, stamp })
    }

    /// Swaps the registry. Returns the schemas that changed.
    pub(super) fn put(&self, gate: &Gate, compiled: Compiled) -> Difference {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gate.ingest.registry.swap(Arc::new(compiled.registry));
        let difference = Difference::of(&documents(&before), &documents(&gate.ingest.registry.load()));
        state.tried = compiled.stamp;
        state.retired.push(before);
        difference
    }

    /// Applies every change of the folder after one check without further changes, because copying a folder writes its files
    /// one by one. Never returns.
    pub(super) async fn watch(self: Arc<Self>, gate: Arc<Gate>) {
        let mut last = None;
        loop {
            tokio::time::sleep(SCHEMA_LOOK_INTERVAL).await;
            let (schemas, gate) = (self.clone(), gate.clone());
            // Blocking: reads files, and compiles and frees schemas.
            last = tokio::task::spawn_blocking(move || schemas.look(&gate, last)).await.unwrap_or_default();
        }
    }

    /// One check; `last` is the result of the previous check.
    fn look(&self, gate: &Gate, last: Option<Option<FolderStamp>>) -> Option<Option<FolderStamp>> {
        let tried = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.retired.retain(|registry| Arc::strong_count(registry) > 1);
            state.tried
        };
        if !self.is_watched {
            return None;
        }
        let now = FolderStamp::of(&self.dir);
        if now == tried || last != Some(now) {
            return Some(now);
        }
        let compiled = self.compile();
        // If files were written meanwhile, they are checked again when the folder no longer changes.
        let after = FolderStamp::of(&self.dir);
        if after != now {
            return Some(after);
        }
        match compiled {
            Ok(compiled) => {
                let changes = self.put(gate, compiled);
                gate.metrics.schema_reloads.inc();
                tracing::info!(
                    schemas_added = shortened(changes.added),
                    schemas_removed = shortened(changes.removed),
                    schemas_changed = shortened(changes.changed),
                    "the schemas have changed and are in force"
                );
            }
            Err(error) => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).tried = now;
                gate.metrics.schema_reload_failures.inc();
                let error = format!("{error:#}");
                tracing::error!(error, "the schemas have changed and cannot be used; the old ones stay in force");
            }
        }
        Some(now)
    }
}

/// Loads a registry on a separate thread with low priority.
fn compile_aside(dir: PathBuf) -> io::Result<Result<Registry, LoadError>> {
    let compile = move || {
        // On Linux this affects only the current thread. If it fails, compile anyway.
        let _ = setpriority_process(None, NICENESS);
        schema::load_with(&dir, 1)
    };
    let thread = thread::Builder::new().name("schemas".into()).spawn(compile)?;
    thread.join().map_err(|_| io::Error::other("compiling the schemas panicked"))
}

/// Every schema as served, by its label.
fn documents(registry: &Registry) -> BTreeMap<String, Arc<str>> {
    let versions = registry.iter().flat_map(|(_, versions)| versions);
    versions.map(|schema| (schema.label(), schema.document.clone())).collect()
}

/// The first names of a long list, and the number of the others.
pub(super) fn shortened(mut names: Vec<String>) -> String {
    if let Some(more) = names.len().checked_sub(RELOAD_NAMES_LOGGED_MAX).filter(|more| *more > 0) {
        names.truncate(RELOAD_NAMES_LOGGED_MAX);
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_names_do_not_make_a_line_of_the_log_too_long() {
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(shortened(names(RELOAD_NAMES_LOGGED_MAX)), names(RELOAD_NAMES_LOGGED_MAX).join(", "));
        assert!(shortened(names(1000)).ends_with(", 19, and 980 more"));
    }
}
