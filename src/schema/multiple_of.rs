//! `multipleOf` with exact decimal digits. The library uses doubles, in which `1e300` is not a multiple of 10.

use jsonschema::{
    Keyword, ValidationError,
    json::{JsonNumber, Node as _},
    paths::Location,
};
use serde_json::{Map, Value};

use crate::json::{Decimal, Node, TapeJson};

struct MultipleOf {
    step: Decimal,
    /// The step, if it is whole and small: then most numbers need only one division.
    whole: Option<u64>,
    /// As written in the schema.
    text: String,
}

/// Creates the keyword of one schema; the metaschema has checked its value.
pub(super) fn factory<'a>(
    _: &'a Map<String, Value>,
    value: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i, TapeJson>>, ValidationError<'a>> {
    let text = value.as_number().ok_or_else(|| ValidationError::custom("is no number"))?.to_string();
    Ok(Box::new(MultipleOf { step: Decimal::parse(&text), whole: value.as_u64(), text }))
}

impl<'i> Keyword<'i, TapeJson> for MultipleOf {
    fn validate(&self, instance: Node<'i>) -> Result<(), ValidationError<'i>> {
        // The expected value; `explain.rs` adds the actual value.
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom(format!("a multiple of {}", self.text))) }
    }

    fn is_valid(&self, instance: Node<'i>) -> bool {
        let Some(number) = instance.as_number() else { return true };
        match self.whole.zip(number.as_i64()) {
            Some((step, number)) if step > 0 => number.unsigned_abs().is_multiple_of(step),
            _ => Decimal::parse(&number.as_str()).is_multiple_of(&self.step),
        }
    }
}
