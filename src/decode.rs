//! Decodes the body of a request into events: inflates, splits, and reads the fields that every event has.

mod fields;
mod inflate;
mod mistakes;
mod numeric_created_at;
mod split;

pub use fields::{Fields, check_names, read_fields, read_fields_of_distinct, uuid_text};
pub use inflate::{Encoding, Growth, InflateError, inflate};
pub use numeric_created_at::with_numeric_created_at;
pub use split::{
    BodyError, BodyForm, Element, count_elements, events_named, for_each_element, only_element, try_for_each_element,
};
