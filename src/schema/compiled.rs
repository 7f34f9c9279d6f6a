//! A flattened schema, compiled to a short program over the tape: the members of an event, their kinds and bounds.
//!
//! The program accepts an event only if the schema does. If it is not sure (a number with many digits, a duplicate member), it
//! does not accept, and the schema as written decides. The library checks keywords that the program does not know. The program
//! takes about a quarter of the library's time (`make micro`).
//!
//! Otherwise most of this time would be spent waiting for memory, because each event needs another schema, and the programs of
//! all schemas are larger than the CPU caches. So data that is read first is stored together, and equal bounds are stored once.

mod bounds;
mod members;
mod pattern;
mod shared;
mod text;

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::flatten::ANNOTATIONS;
use crate::json::{Kind, Node, ShortDecimal, TapeJson};
use bounds::Bounds;
use members::Members;
pub(super) use shared::Shared;
use text::Text;

/// Builds the library's validator for a part of a schema.
pub(super) type Library<'a> = &'a dyn Fn(&Value) -> Option<Validator<TapeJson>>;

/// See the module.
#[derive(Debug)]
pub(super) enum CompiledSchema {
    /// Any value.
    Anything,
    /// A value of certain kinds, within bounds.
    Plain(Plain),
    /// A value that all of these accept.
    All(Box<[CompiledSchema]>),
    /// A value that the library accepts.
    Library(Box<Validator<TapeJson>>),
}

/// The allowed values. A condition for one kind does not apply to other kinds.
#[derive(Debug, Default)]
pub(super) struct Plain {
    kinds: Kinds,
    is_integer: bool,
    bounds: Option<Arc<Bounds>>,
    text: Option<Arc<Text>>,
    elements: Option<Box<Elements>>,
    members: Option<Box<Members>>,
}

#[derive(Debug)]
struct Elements {
    each: CompiledSchema,
    count_min: usize,
    count_max: usize,
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kinds(u8);

impl Default for Kinds {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl Kinds {
    fn of(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    fn contains(self, kind: Kind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }
}

/// Keywords that do not depend on their siblings: the library can check them separately.
const APART: [&str; 4] = ["format", "multipleOf", "pattern", "uniqueItems"];

impl CompiledSchema {
    /// Compiles a flattened schema. `None` if a part of it is not a schema.
    pub(super) fn compile(schema: &Value, shared: &Shared, library: Library<'_>) -> Option<Self> {
        let Value::Object(keywords) = schema else {
            return if *schema == Value::Bool(true) { Some(Self::Anything) } else { Self::library(schema, library) };
        };
        let mut compiler = Compiler {
            plain: Plain::default(),
            bounds: Bounds::default(),
            text: Text::default(),
            more: Vec::new(),
            apart: Map::new(),
            shared,
            library,
        };
        let is_known = keywords
            .iter()
            .filter(|(name, _)| !ANNOTATIONS.contains(&name.as_str()))
            .all(|(name, value)| compiler.keyword(name, value, keywords).is_some());
        if !is_known {
            return Self::library(schema, library);
        }
        let Compiler { mut plain, bounds, text, mut more, apart, .. } = compiler;
        plain.bounds = (bounds != Bounds::default()).then(|| shared.bounds(bounds));
        plain.text = (text != Text::default()).then(|| shared.text(text));
        if !apart.is_empty() {
            more.push(Self::library(&Value::Object(apart), library)?);
        }
        let plain = Self::Plain(plain);
        if more.is_empty() {
            return Some(plain);
        }
        more.insert(0, plain);
        Some(Self::All(more.into()))
    }

    fn library(schema: &Value, library: Library<'_>) -> Option<Self> {
        library(schema).map(|validator| Self::Library(Box::new(validator)))
    }

    /// If `object` is certainly valid: whether the schema names all its members, so that none of them is there twice.
    pub(super) fn accepted(&self, object: Node<'_>) -> Option<bool> {
        match self {
            Self::Plain(plain) => plain.accepted(object),
            Self::All(parts) => {
                let (first, others) = parts.split_first()?;
                let is_distinct = first.accepted(object)?;
                others.iter().all(|other| other.accepts(object)).then_some(is_distinct)
            }
            Self::Anything | Self::Library(_) => self.accepts(object).then_some(false),
        }
    }

    /// Whether `value` is certainly valid.
    pub(super) fn accepts(&self, value: Node<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::Plain(plain) => plain.accepts(value),
            Self::All(parts) => parts.iter().all(|part| part.accepts(value)),
            Self::Library(validator) => validator.is_valid(value),
        }
    }
}

impl Plain {
    fn accepted(&self, object: Node<'_>) -> Option<bool> {
        match &self.members {
            Some(members) if object.kind() == Kind::Object && self.kinds.contains(Kind::Object) => {
                members.accepted(object).map(|named| named == object.count())
            }
            _ => self.accepts(object).then_some(false),
        }
    }

    fn accepts(&self, value: Node<'_>) -> bool {
        let kind = value.kind();
        if !self.kinds.contains(kind) {
            return false;
        }
        match kind {
            Kind::Number => self.accepts_number(value.raw()),
            Kind::String => self.text.as_ref().is_none_or(|text| value.string().is_some_and(|string| text.accepts(&string))),
            Kind::Array => self.elements.as_ref().is_none_or(|elements| {
                (elements.count_min..=elements.count_max).contains(&value.count())
                    && value.elements().all(|element| elements.each.accepts(element))
            }),
            Kind::Object => self.members.as_ref().is_none_or(|members| members.accepted(value).is_some()),
            Kind::Null | Kind::Boolean => true,
        }
    }

    fn accepts_number(&self, digits: &str) -> bool {
        if self.is_integer && digits.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'-') {
            return false;
        }
        self.bounds.as_ref().is_none_or(|bounds| exact(digits).is_some_and(|number| bounds.accept(number)))
    }
}

/// A number that a double represents without ambiguity: at most 15 digits, and no exponent.
fn exact(digits: &str) -> Option<f64> {
    const DIGITS_MAX: usize = 15;
    if digits.len() > DIGITS_MAX {
        return None;
    }
    match digits.strip_prefix('-') {
        Some(digits) => ShortDecimal::parse(digits).map(|number| -number.nearest_double()),
        None => ShortDecimal::parse(digits).map(ShortDecimal::nearest_double),
    }
}

struct Compiler<'a> {
    plain: Plain,
    bounds: Bounds,
    text: Text,
    more: Vec<CompiledSchema>,
    apart: Map<String, Value>,
    shared: &'a Shared,
    library: Library<'a>,
}

impl Compiler<'_> {
    /// Adds one keyword; `None` if the keyword or its value is not supported.
    fn keyword(&mut self, name: &str, value: &Value, beside: &Map<String, Value>) -> Option<()> {
        match name {
            "type" => self.kinds(value)?,
            "minimum" => self.bounds.at_least = Some(exact(&value.as_number()?.to_string())?),
            "maximum" => self.bounds.at_most = Some(exact(&value.as_number()?.to_string())?),
            "exclusiveMinimum" => self.bounds.above = Some(exact(&value.as_number()?.to_string())?),
            "exclusiveMaximum" => self.bounds.below = Some(exact(&value.as_number()?.to_string())?),
            "enum" | "const" => self.choices(value)?,
            "minLength" => self.text.chars_min = usize::try_from(value.as_u64()?).ok()?,
            "maxLength" => self.text.chars_max = usize::try_from(value.as_u64()?).ok()?,
            "format" if value == "uuid" => self.text.is_uuid = true,
            "pattern" => match self.shared.pattern(value.as_str()?) {
                Some(pattern) => self.text.pattern = Some(pattern),
                None => drop(self.apart.insert(name.into(), value.clone())),
            },
            "items" => self.elements().each = CompiledSchema::compile(value, self.shared, self.library)?,
            "minItems" => self.elements().count_min = usize::try_from(value.as_u64()?).ok()?,
            "maxItems" => self.elements().count_max = usize::try_from(value.as_u64()?).ok()?,
            "properties" | "required" | "additionalProperties" | "dependentRequired" => {
                if self.plain.members.is_none() {
                    self.plain.members = Some(Box::new(Members::compile(beside, self.shared, self.library)?));
                }
            }
            "allOf" => {
                for part in value.as_array()? {
                    self.more.push(CompiledSchema::compile(part, self.shared, self.library)?);
                }
            }
            name if APART.contains(&name) => drop(self.apart.insert(name.into(), value.clone())),
            _ => return None,
        }
        Some(())
    }

    fn elements(&mut self) -> &mut Elements {
        let any = Elements { each: CompiledSchema::Anything, count_min: 0, count_max: usize::MAX };
        self.plain.elements.get_or_insert_with(|| Box::new(any))
    }

    fn kinds(&mut self, value: &Value) -> Option<()> {
        let names = match value {
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        let (mut kinds, mut has_number, mut has_integer) = (0, false, false);
        for name in names {
            kinds |= match name.as_str()? {
                "null" => Kinds::of(Kind::Null),
                "boolean" => Kinds::of(Kind::Boolean),
                "number" => {
                    has_number = true;
                    Kinds::of(Kind::Number)
                }
                "integer" => {
                    has_integer = true;
                    Kinds::of(Kind::Number)
                }
                "string" => Kinds::of(Kind::String),
                "array" => Kinds::of(Kind::Array),
                "object" => Kinds::of(Kind::Object),
                _ => return None,
            }
            .0;
        }
        self.plain.kinds = Kinds(self.plain.kinds.0 & kinds);
        self.plain.is_integer = has_integer && !has_number;
        Some(())
    }

    /// Allows some strings, or null.
    fn choices(&mut self, value: &Value) -> Option<()> {
        let choices = match value {
            Value::Array(choices) => choices.as_slice(),
            Value::String(_) => std::slice::from_ref(value),
            _ => return None,
        };
        if self.text.choices.is_some() {
            return None;
        }
        let mut kinds = Kinds::of(Kind::String);
        let mut texts: Vec<Box<str>> = Vec::new();
        for choice in choices {
            match choice {
                Value::String(text) => texts.push(text.as_str().into()),
                Value::Null => kinds.0 |= Kinds::of(Kind::Null).0,
                _ => return None,
            }
        }
        self.text.choices = Some(texts);
        self.plain.kinds = Kinds(self.plain.kinds.0 & kinds.0);
        Some(())
    }
}

#[cfg(test)]
mod tests;
