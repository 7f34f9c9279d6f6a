//! From a request's body to its events: inflate, split, read the fields every event has.

mod fields;
mod inflate;
mod split;

pub use fields::{Fields, read_fields, uuid_text};
pub use inflate::{Encoding, InflateError, inflate};
pub use split::{BodyError, BodyForm, Element, for_each_element, only_element};
