//! The shape of the values that a schema accepts. References are replaced before.

use serde_json::Value;

use super::shape::Shape;
use crate::{json::Decimal, limits::COLUMN_DEPTH_MAX};

/// The shape of a schema's values. `null` is left out, because every column may be null.
pub(super) fn shape(schema: &Value) -> Shape {
    shape_at(schema, COLUMN_DEPTH_MAX)
}

fn shape_at(schema: &Value, depth_left: usize) -> Shape {
    let Some(depth_left) = depth_left.checked_sub(1) else { return Shape::Anything };
    let below = |part: &Value| shape_at(part, depth_left);
    let mut shape = match (schema.get("const"), schema["enum"].as_array()) {
        (Some(value), _) => of_value(value),
        (None, Some(values)) => either(values.iter().filter(|value| !value.is_null()).map(of_value)),
        (None, None) => of_types(schema, &below),
    };
    for part in schema["allOf"].as_array().into_iter().flatten() {
        shape = shape.and(below(part));
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(parts) = schema[keyword].as_array() {
            shape = shape.and_for_some(either(parts.iter().filter(|part| part["type"] != "null").map(below)));
        }
    }
    // These apply to some values: they may name members that nothing else names.
    if let Shape::Object(_) = shape {
        for part in ["then", "else"].map(|keyword| &schema[keyword]) {
            if let Shape::Object(members) = below(part) {
                shape = shape.and_for_some(Shape::Object(members));
            }
        }
    }
    shape
}

/// The shape of values of one of these shapes.
fn either(shapes: impl Iterator<Item = Shape>) -> Shape {
    shapes.reduce(Shape::or).unwrap_or(Shape::Anything)
}

fn of_value(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::Anything,
        Value::Bool(_) => Shape::Boolean,
        Value::Number(number) => {
            if number.is_i64() {
                Shape::Integer
            } else {
                Shape::Number
            }
        }
        Value::String(_) => Shape::Text,
        Value::Array(_) | Value::Object(_) => Shape::Mixed,
    }
}

fn of_types(schema: &Value, below: &dyn Fn(&Value) -> Shape) -> Shape {
    match &schema["type"] {
        Value::String(kind) => of_type(kind, schema, below),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            either(kinds.map(|kind| of_type(kind, schema, below)))
        }
        _ if schema["properties"].is_object() => of_type("object", schema, below),
        _ => Shape::Anything,
    }
}

fn of_type(kind: &str, schema: &Value, below: &dyn Fn(&Value) -> Shape) -> Shape {
    match kind {
        "boolean" => Shape::Boolean,
        "integer" => Shape::Integer,
        "number" => number(schema),
        "string" => match schema["format"].as_str() {
            Some("date-time") => Shape::Timestamp,
            Some("date") => Shape::Date,
            _ => Shape::Text,
        },
        "array" if schema.get("prefixItems").is_some() => Shape::Mixed,
        "array" => match &schema["items"] {
            items @ Value::Object(_) => Shape::List(Box::new(below(items))),
            _ => Shape::Mixed,
        },
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            Shape::Object(members.map(|(name, member)| (name.clone(), below(member))).collect())
        }
        _ => Shape::Anything,
    }
}

/// Digits after the point that a decimal column may have.
const SCALE_MAX: i64 = 18;

fn number(schema: &Value) -> Shape {
    let Some(step) = schema["multipleOf"].as_number().map(|step| Decimal::parse(&step.to_string())) else { return Shape::Number };
    match -step.exponent() {
        ..=0 => Shape::Integer,
        scale @ 1..=SCALE_MAX => Shape::Decimal { whole_digits: whole_digits(schema), scale: scale as u8 },
        _ => Shape::Number,
    }
}

/// Digits before the point, if the schema bounds them on both sides.
fn whole_digits(schema: &Value) -> Option<u8> {
    let bound =
        |keywords: [&str; 2]| keywords.iter().filter_map(|keyword| schema[*keyword].as_number()).map(ToString::to_string).next();
    let digits = |text: &str| u8::try_from(Decimal::parse(text).whole_digits()).ok();
    let (low, high) = (bound(["minimum", "exclusiveMinimum"])?, bound(["maximum", "exclusiveMaximum"])?);
    Some(digits(&low)?.max(digits(&high)?))
}
