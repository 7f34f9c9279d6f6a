//! Another registry while the gateway runs: compiled whole beside the one in force, and put in its place in one step.

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

/// Niceness of the thread that compiles. It has the processors that requests leave.
const NICENESS: i32 = 10;

/// The folder of the registry, looked at again and again.
pub(super) struct Schemas {
    dir: PathBuf,
    /// Whether its changes are put in force without being asked for.
    is_watched: bool,
    state: Mutex<State>,
}

struct State {
    /// The folder when it was last compiled, whether or not that could be used.
    tried: Option<FolderStamp>,
    /// Registries that were in force. Freeing a thousand schemas takes milliseconds, which no request must pay: they are
    /// kept until no request has them any more.
    retired: Vec<Arc<Registry>>,
}

/// A registry that can be put in force.
pub(super) struct Compiled {
    registry: Registry,
    stamp: Option<FolderStamp>,
}

impl Schemas {
    /// On the folder as it was just loaded.
    pub(super) fn new(config: &SchemasConfig, stamp: Option<FolderStamp>) -> Self {
        Self { dir: config.dir.clone(), is_watched: config.watch, state: Mutex::new(State { tried: stamp, retired: Vec::new() }) }
    }

    /// Compiles what the folder holds now.
    pub(super) fn compile(&self) -> anyhow::Result<Compiled> {
        let stamp = FolderStamp::of(&self.dir);
        Ok(Compiled { registry: compile_aside(self.dir.clone())??, stamp })
    }

    /// Puts a registry in force. Says which schemas are others now.
    pub(super) fn put(&self, gate: &Gate, compiled: Compiled) -> Difference {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gate.ingest.registry.swap(Arc::new(compiled.registry));
        let difference = Difference::of(&documents(&before), &documents(&gate.ingest.registry.load()));
        state.tried = compiled.stamp;
        state.retired.push(before);
        difference
    }

    /// Puts in force what the folder holds whenever it has changed, and has then been still for one look: who copies a
    /// folder writes its files one after the other. Ends never.
    pub(super) async fn watch(self: Arc<Self>, gate: Arc<Gate>) {
        let mut last = None;
        loop {
            tokio::time::sleep(SCHEMA_LOOK_INTERVAL).await;
            let (schemas, gate) = (self.clone(), gate.clone());
            // Files are looked at, and schemas compiled and freed.
            last = tokio::task::spawn_blocking(move || schemas.look(&gate, last)).await.unwrap_or_default();
        }
    }

    /// One look: `last` is what the one before saw.
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
        // What was written to meanwhile is looked at again, when it is still.
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

/// Loads a registry on one thread of its own, which gives way to those that serve.
fn compile_aside(dir: PathBuf) -> io::Result<Result<Registry, LoadError>> {
    let compile = move || {
        // On Linux this is the thread alone. Refused or not, it compiles.
        let _ = setpriority_process(None, NICENESS);
        schema::load_with(&dir, 1)
    };
    let thread = thread::Builder::new().name("schemas".into()).spawn(compile)?;
    thread.join().map_err(|_| io::Error::other("compiling the schemas panicked"))
}

/// Every schema as it is served, by its label.
fn documents(registry: &Registry) -> BTreeMap<String, Arc<str>> {
    let versions = registry.iter().flat_map(|(_, versions)| versions);
    versions.map(|schema| (schema.label(), schema.document.clone())).collect()
}

/// The first few of many names, and how many more there are.
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
