//! The tape in the form that the `jsonschema` crate reads: for a valid event no value tree is built.

use std::borrow::Cow;

use jsonschema::{
    JsonType,
    json::{self, Json, JsonNumber, NodeIdentity, cmp},
};
use serde_json::Value;

use super::{
    decimal::{Decimal, judged_as},
    tape::{Kind, Tape, TapeNode},
};

/// The JSON representation for the `jsonschema` crate.
#[derive(Debug)]
pub struct TapeJson;

/// One value on a tape.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a>(Inner<'a>);

#[derive(Clone, Copy, Debug)]
enum Inner<'a> {
    Tape {
        text: &'a str,
        tape: &'a Tape,
        index: u32,
    },
    /// The name of a property, which `propertyNames` validates like a value.
    Name(&'a str),
}

impl Tape {
    /// The whole value as a node for the validator. `text` must be the text that was parsed into this tape.
    #[must_use]
    pub fn root<'a>(&'a self, text: &'a str) -> Node<'a> {
        Node::at(text, self, 0)
    }
}

impl<'a> Node<'a> {
    pub(super) fn at(text: &'a str, tape: &'a Tape, index: u32) -> Self {
        Self(Inner::Tape { text, tape, index })
    }

    /// The type of the value.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.node().map_or(Kind::String, |node| node.kind)
    }

    /// The bytes of the value as the client wrote them, including quotes and brackets.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        match self.0 {
            Inner::Tape { text, .. } => self.node().map_or("", |node| &text[node.start as usize..node.end as usize]),
            Inner::Name(name) => name,
        }
    }

    /// The members of an object, in order; empty for anything else.
    #[must_use]
    pub fn members(&self) -> Members<'a> {
        match self.0 {
            Inner::Tape { text, tape, index } if self.kind() == Kind::Object => {
                Members { text, tape, index: index + 1, end: tape.nodes[index as usize].next }
            }
            Inner::Tape { text, tape, .. } => Members { text, tape, index: 0, end: 0 },
            Inner::Name(_) => Members { text: "", tape: &EMPTY, index: 0, end: 0 },
        }
    }

    /// The elements of an array, in order; empty for anything else.
    #[must_use]
    pub fn elements(&self) -> Elements<'a> {
        Elements(match self.0 {
            Inner::Tape { text, tape, index } if self.kind() == Kind::Array => {
                Members { text, tape, index: index + 1, end: tape.nodes[index as usize].next }
            }
            _ => Members { text: "", tape: &EMPTY, index: 0, end: 0 },
        })
    }

    /// The number of elements of an array, or of members of an object.
    #[must_use]
    pub fn count(&self) -> usize {
        self.node().map_or(0, |node| node.count as usize)
    }

    /// The characters of a string; `None` for any other value.
    #[must_use]
    #[inline]
    pub fn string(&self) -> Option<Cow<'a, str>> {
        match self.0 {
            Inner::Tape { text, tape, index } => (self.kind() == Kind::String).then(|| tape.string(text, index)),
            Inner::Name(name) => Some(Cow::Borrowed(name)),
        }
    }

    fn node(&self) -> Option<&'a TapeNode> {
        match self.0 {
            Inner::Tape { tape, index, .. } => tape.nodes.get(index as usize),
            Inner::Name(_) => None,
        }
    }
}

static EMPTY: Tape = Tape { nodes: Vec::new(), open: Vec::new(), depth: 0, lone_surrogate: false, overflow: false };

/// Members of an object, or elements of an array, in order.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    text: &'a str,
    tape: &'a Tape,
    index: u32,
    end: u32,
}

impl<'a> Members<'a> {
    /// The members whose name has a length, in bytes, of which `lengths` has the bit, or has escapes. The names of all others are
    /// not looked at.
    pub fn of_lengths(mut self, lengths: u64) -> impl Iterator<Item = (Cow<'a, str>, Node<'a>)> {
        std::iter::from_fn(move || {
            while self.index < self.end {
                let name = &self.tape.nodes[self.index as usize];
                let bytes = name.end - name.start - 2;
                if name.escaped || bytes < u64::BITS && lengths >> bytes & 1 == 1 {
                    return self.next();
                }
                self.index = self.tape.nodes[self.index as usize + 1].next;
            }
            None
        })
    }

    /// The members with their whole text, from the quote of the name to the end of the value.
    pub fn with_raw(self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        let (text, tape) = (self.text, self.tape);
        let mut at = self.index;
        self.map(move |(name, _)| {
            let (first, value) = (&tape.nodes[at as usize], &tape.nodes[at as usize + 1]);
            at = value.next;
            (name, &text[first.start as usize..value.end as usize])
        })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Node<'a>);

    // Called for each member of each event; as a call of its own it takes twice as long.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.end {
            return None;
        }
        let name = self.tape.string(self.text, self.index);
        let value = self.index + 1;
        self.index = self.tape.nodes[value as usize].next;
        Some((name, Node::at(self.text, self.tape, value)))
    }
}

impl Json for TapeJson {
    type Node<'a> = Node<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = String;

    // A look-up walks the whole object, so one pass over all members replaces any number of look-ups.
    const KEYS_PER_LOOKUP: usize = 4;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(buffer: &mut String, string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        buffer.clear();
        buffer.push_str(string);
        f(Node(Inner::Name(buffer)))
    }
}

impl<'a> json::Node<'a, TapeJson> for Node<'a> {
    type Object = ObjectNode<'a>;
    type Array = ArrayNode<'a>;
    type Number = NumberText<'a>;

    fn as_object(&self) -> Option<ObjectNode<'a>> {
        (self.kind() == Kind::Object).then_some(ObjectNode(*self))
    }

    fn as_array(&self) -> Option<ArrayNode<'a>> {
        (self.kind() == Kind::Array).then_some(ArrayNode(*self))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.string()
    }

    fn as_number(&self) -> Option<NumberText<'a>> {
        (self.kind() == Kind::Number).then(|| NumberText(self.raw()))
    }

    fn as_boolean(&self) -> Option<bool> {
        (self.kind() == Kind::Boolean).then(|| self.raw() == "true")
    }

    fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Boolean => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String => JsonType::String,
            Kind::Array => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self.string(), expected) {
            (Some(string), Value::String(expected)) => string == *expected,
            (Some(_), _) | (None, Value::String(_)) => false,
            (None, _) => cmp::equal(&json::Node::to_value(self), expected),
        }
    }

    // Recursion is bounded, because only events within EVENT_DEPTH_MAX are validated.
    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self.kind() {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Bool(self.raw() == "true"),
            Kind::Number => Value::Number(NumberText(self.raw()).to_number().into_owned()),
            Kind::String => Value::String(self.string().unwrap_or_default().into_owned()),
            Kind::Array => Value::Array(
                json::Array::elements(&ArrayNode(*self)).map(|node| json::Node::to_value(&node).into_owned()).collect(),
            ),
            Kind::Object => Value::Object(
                self.members().map(|(name, node)| (name.into_owned(), json::Node::to_value(&node).into_owned())).collect(),
            ),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        self.node().map(|node| NodeIdentity::new(std::ptr::from_ref(node) as usize))
    }
}

/// An object in the form that the validator reads.
#[derive(Clone, Debug)]
pub struct ObjectNode<'a>(Node<'a>);

impl<'a> json::Object<'a, TapeJson> for ObjectNode<'a> {
    type Node = Node<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.count()
    }

    fn get(&self, key: &Box<str>) -> Option<Node<'a>> {
        self.0.members().find(|(name, _)| **name == **key).map(|(_, node)| node)
    }

    fn members(&self) -> Members<'a> {
        self.0.members()
    }
}

/// An array in the form that the validator reads.
#[derive(Clone, Debug)]
pub struct ArrayNode<'a>(Node<'a>);

/// Elements of an array, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a>(Members<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let Members { text, tape, index, end } = self.0;
        if index >= end {
            return None;
        }
        self.0.index = tape.nodes[index as usize].next;
        Some(Node::at(text, tape, index))
    }
}

impl<'a> json::Array<'a, TapeJson> for ArrayNode<'a> {
    type Node = Node<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.0.count()
    }

    fn elements(&self) -> Elements<'a> {
        self.0.elements()
    }
}

/// A number with the client's own digits.
#[derive(Clone, Copy, Debug)]
pub struct NumberText<'a>(&'a str);

impl JsonNumber for NumberText<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    // Numeric limits are checked on this double; the client's digits stay unchanged.
    fn as_f64(&self) -> Option<f64> {
        Some(judged_as(self.0))
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        let exact = self.as_u64().map(serde_json::Number::from).or_else(|| self.as_i64().map(serde_json::Number::from));
        Cow::Owned(exact.or_else(|| self.as_f64().and_then(serde_json::Number::from_f64)).unwrap_or_else(|| 0.into()))
    }

    fn is_integer(&self) -> bool {
        !self.0.contains(['.', 'e', 'E']) || Decimal::parse(self.0).is_whole()
    }
}
