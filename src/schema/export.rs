//! Exports of the registry: types for client developers, a catalogue for readers.

mod catalogue;
mod event_fields;
mod inline;
mod python;
mod typescript;

pub use catalogue::catalogue;
pub(super) use inline::inlined;
pub use python::python;
pub use typescript::typescript;
