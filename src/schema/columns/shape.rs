//! The types of values as shapes, with the operations of a schema: values of both shapes, and values of either.

use std::cmp::max;

/// What is known of the values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing is known: any value.
    Anything,
    /// Values of several types.
    Mixed,
    Boolean,
    Integer,
    Number,
    /// Numbers with at most `scale` digits after the point, and, if known, `whole_digits` before it.
    Decimal {
        whole_digits: Option<u8>,
        scale: u8,
    },
    Text,
    Timestamp,
    Date,
    List(Box<Shape>),
    /// Objects with these members, in order; more members are possible.
    Object(Vec<(String, Shape)>),
}

impl Shape {
    /// The shape of values that are of both shapes.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything | Self::Mixed, shape) | (shape, Self::Anything | Self::Mixed) => shape,
            (Self::Integer, Self::Number | Self::Decimal { .. }) | (Self::Number | Self::Decimal { .. }, Self::Integer) => {
                Self::Integer
            }
            (Self::Number, decimal @ Self::Decimal { .. }) | (decimal @ Self::Decimal { .. }, Self::Number) => decimal,
            (Self::Text, narrow @ (Self::Timestamp | Self::Date)) | (narrow @ (Self::Timestamp | Self::Date), Self::Text) => {
                narrow
            }
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.and(*b))),
            (Self::Object(a), Self::Object(b)) => Self::Object(merged(a, b, Self::and)),
            // Equal shapes, or no value is of both.
            (shape, _) => shape,
        }
    }

    /// The shape of values of this shape, some of which are of `other` too: an object or a list gets the members that `other` names,
    /// but what it knows of a member itself holds for all values.
    pub(super) fn and_for_some(self, other: Self) -> Self {
        match (self, other) {
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.with_more(*b))),
            (Self::Object(a), Self::Object(b)) => Self::Object(merged(a, b, Self::with_more)),
            (shape, other) => shape.and(other),
        }
    }

    fn with_more(self, other: Self) -> Self {
        match (self, other) {
            (shape @ (Self::List(_) | Self::Object(_)), other @ (Self::List(_) | Self::Object(_))) => shape.and_for_some(other),
            (shape, _) => shape,
        }
    }

    /// The shape of values that are of one of both shapes.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Integer, Self::Number)
            | (Self::Number, Self::Integer | Self::Decimal { .. })
            | (Self::Decimal { .. }, Self::Number) => Self::Number,
            // A whole number of 64 bits may have 19 digits.
            (Self::Integer, Self::Decimal { scale, .. }) | (Self::Decimal { scale, .. }, Self::Integer) => {
                Self::Decimal { whole_digits: None, scale }
            }
            (Self::Decimal { whole_digits: a, scale: a_scale }, Self::Decimal { whole_digits: b, scale: b_scale }) => {
                Self::Decimal { whole_digits: a.zip(b).map(|(a, b)| max(a, b)), scale: max(a_scale, b_scale) }
            }
            (Self::Text | Self::Timestamp | Self::Date, Self::Text | Self::Timestamp | Self::Date) => Self::Text,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.or(*b))),
            (Self::Object(a), Self::Object(b)) => Self::Object(merged(a, b, Self::or)),
            _ => Self::Mixed,
        }
    }

    /// The shape of values of both, if one column can hold them without losing their type.
    pub(super) fn widened(&self, other: &Self) -> Option<Self> {
        let is_open = |shape: &Self| matches!(shape, Self::Anything | Self::Mixed);
        match (is_open(self), is_open(other)) {
            (true, true) => Some(Self::Mixed),
            (false, false) => Some(self.clone().or(other.clone())).filter(|shape| !is_open(shape)),
            _ => None,
        }
    }
}

/// The members of both; those that both have are combined.
fn merged(
    mut first: Vec<(String, Shape)>,
    second: Vec<(String, Shape)>,
    combine: fn(Shape, Shape) -> Shape,
) -> Vec<(String, Shape)> {
    for (name, shape) in second {
        match first.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = combine(std::mem::replace(before, Shape::Anything), shape),
            None => first.push((name, shape)),
        }
    }
    first
}
