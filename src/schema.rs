//! The schema registry: which events there are, and what each must look like.
//!
//! `schemas/menu/item/viewed/1.json` holds version 1 of `menu:item:viewed`. The newest version judges unless the event
//! names one. `$ref` reaches into the folder (`/common/…`) and nowhere else. Everything is compiled when it is loaded;
//! a registry with any fault in it is refused whole, with every fault named.

mod bundle;
pub mod compat;
mod compiled;
mod diff;
mod draft;
mod explain;
mod export;
mod flatten;
mod folder;
mod inspect;
mod load;
mod manifest;
mod multiple_of;
mod registry;
mod subschema;
mod suggestions;

pub use diff::{Change, ChangeKind, differences};
pub use draft::{Draft, PIECES, Version};
pub use export::{catalogue, typescript};
pub use folder::FolderStamp;
pub use inspect::{FileFault, Inspected, Rule, Written, bytes_of, inspect};
pub use load::{LoadError, SchemaFault, load, load_with};
pub use manifest::{Manifest, ManifestError};
pub use registry::{Registry, Resolution, Schema};
pub use suggestions::Suggestions;
