//! The schema registry: the known events, and the schema of each.
//!
//! `schemas/menu/item/viewed/1.json` holds version 1 of `menu:item:viewed`. The newest version validates an event unless the
//! event names a version. `$ref` may only refer to files in the folder (`/common/…`). All schemas are compiled when they are
//! loaded; a registry with any fault is refused as a whole, and every fault is listed.

mod bundle;
mod columns;
pub mod compat;
mod compiled;
mod diff;
mod draft;
mod explain;
mod export;
mod flatten;
mod folder;
mod inspect;
mod known_place;
mod load;
mod manifest;
mod multiple_of;
mod registry;
mod subschema;
mod suggestions;
mod words;

pub use columns::event_columns;
pub use diff::{Change, ChangeKind, differences};
pub use draft::{Draft, PIECES, Version};
pub use export::{catalogue, python, typescript};
pub use folder::FolderStamp;
pub use inspect::{FileFault, Inspected, Rule, Written, bytes_of, inspect};
pub use load::{LoadError, SchemaFault, load, load_with};
pub use manifest::{Manifest, ManifestError};
pub use registry::{Registry, Resolution, Schema};
pub use suggestions::Suggestions;
