//! The registry in other people's terms: types for who writes a client, a catalogue for who asks what there is.

mod catalogue;
mod event_fields;
mod inline;
mod typescript;

pub use catalogue::catalogue;
pub(super) use inline::inlined;
pub use typescript::typescript;
