//! JSON Patch (RFC 6902) on the text itself: parts that no operation names keep their bytes, digits and escapes (promise P6).
//!
//! Each operation parses the text into a tape, finds the location, and splices there. We have our own implementation because
//! the existing crates use a value tree, which turns `1.10` into `1.1`. The tests compare it with such a crate.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Kind, Node, Parser, Tape, pointer_name, pointer_token};
use crate::limits::{EVENT_BYTES_MAX, PATCH_OPERATIONS_MAX};

/// A parsed, valid patch.
#[derive(Debug)]
pub struct Patch {
    operations: Vec<Operation>,
    text: String,
}

/// Why a text is not a patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Not JSON, or not the form of a patch.
    #[error("the patch is no JSON Patch (RFC 6902): {0}")]
    Unreadable(String),
    /// An operation lacks a required member.
    #[error("operation {index} of the patch: {reason}")]
    Operation {
        /// The index of the operation, from 0.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The patch has no operations, or too many.
    #[error("the patch has {0} operations; 1 to {PATCH_OPERATIONS_MAX} are allowed")]
    Count(usize),
}

/// Why a patch does not apply to a text. The text stays unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path:?}: {reason}")]
pub struct NotApplicable {
    operation: Kinds,
    path: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Operation {
    kind: Kinds,
    path: Pointer,
    from: Pointer,
    value: Box<RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kinds {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Test => "test",
        })
    }
}

/// An operation as written. Members unknown to RFC 6902 are ignored, as the RFC requires.
#[derive(Deserialize)]
struct Written {
    op: Kinds,
    path: String,
    from: Option<String>,
    #[serde(default, deserialize_with = "even_null")]
    value: Option<Box<RawValue>>,
}

/// Keeps `null` as a value, because a plain `Option` would read it as absent.
fn even_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

/// A JSON pointer (RFC 6901).
#[derive(Debug, Default, PartialEq)]
struct Pointer(Vec<String>);

impl Pointer {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let unescaped = |token: &str| {
            let is_well_formed = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_well_formed.then(|| pointer_name(token))
        };
        text.strip_prefix('/')?.split('/').map(unescaped).collect::<Option<_>>().map(Self)
    }

    fn is_above(&self, other: &Self) -> bool {
        self.0.len() < other.0.len() && other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", pointer_token(token)))
    }
}

const NOTHING_THERE: &str = "there is nothing at this place";

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// [`PatchError`].
    pub fn parse(text: &str) -> Result<Self, PatchError> {
        let written: Vec<Written> = serde_json::from_str(text).map_err(|error| PatchError::Unreadable(error.to_string()))?;
        if written.is_empty() || written.len() > PATCH_OPERATIONS_MAX {
            return Err(PatchError::Count(written.len()));
        }
        let operation = |(index, written): (usize, Written)| {
            Operation::read(written).map_err(|reason| PatchError::Operation { index, reason })
        };
        let operations = written.into_iter().enumerate().map(operation).collect::<Result<_, _>>()?;
        Ok(Self { operations, text: text.trim_ascii().to_owned() })
    }

    /// The patch as written, without surrounding white space.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Applies all operations to `text`, in order.
    ///
    /// # Errors
    /// [`NotApplicable`] if an operation cannot be applied.
    pub fn apply(&self, text: &str) -> Result<String, NotApplicable> {
        let mut text = text.to_owned();
        for operation in &self.operations {
            let fault = |reason| NotApplicable { operation: operation.kind, path: operation.path.to_string(), reason };
            operation.apply(&mut text).map_err(fault)?;
            if text.len() > EVENT_BYTES_MAX {
                return Err(fault("the event grows beyond what one may have"));
            }
        }
        Ok(text)
    }
}

impl Operation {
    fn read(written: Written) -> Result<Self, &'static str> {
        let Written { op: kind, path, from, value } = written;
        let path = Pointer::parse(&path).ok_or("\"path\" is no JSON pointer")?;
        let from = match (kind, from) {
            (Kinds::Move | Kinds::Copy, None) => return Err("\"from\" is missing"),
            (Kinds::Move | Kinds::Copy, Some(from)) => Pointer::parse(&from).ok_or("\"from\" is no JSON pointer")?,
            _ => Pointer::default(),
        };
        let value = match (kind, value) {
            (Kinds::Add | Kinds::Replace | Kinds::Test, None) => return Err("\"value\" is missing"),
            (_, value) => value.unwrap_or_else(|| RawValue::NULL.to_owned()),
        };
        if kind == Kinds::Move && from.is_above(&path) {
            return Err("a value cannot be moved into itself");
        }
        if kind == Kinds::Remove && path.0.is_empty() {
            return Err("an event cannot be removed from itself");
        }
        Ok(Self { kind, path, from, value })
    }

    fn apply(&self, text: &mut String) -> Result<(), &'static str> {
        match self.kind {
            Kinds::Add => add(text, &self.path, self.value.get()),
            Kinds::Remove => remove(text, &self.path),
            Kinds::Replace => {
                let place = place(text, &self.path)?;
                text.replace_range(place, self.value.get());
                Ok(())
            }
            Kinds::Move => {
                let value = text[place(text, &self.from)?].to_owned();
                if self.from == self.path {
                    return Ok(());
                }
                remove(text, &self.from)?;
                add(text, &self.path, &value)
            }
            Kinds::Copy => {
                let value = text[place(text, &self.from)?].to_owned();
                add(text, &self.path, &value)
            }
            Kinds::Test => {
                let (found, wanted) = (read(text)?, read(self.value.get())?);
                let found = find(found.root(text), &self.path.0).ok_or(NOTHING_THERE)?;
                if equal(found, wanted.root(self.value.get())) { Ok(()) } else { Err("the value is another one") }
            }
        }
    }
}

fn read(text: &str) -> Result<Tape, &'static str> {
    let mut tape = Tape::new();
    let mut parser = Parser::new(text, usize::MAX);
    match parser.value(&mut tape) {
        Ok(_) if parser.peek().is_none() => Ok(tape),
        _ => Err("the event is no JSON"),
    }
}

/// The value at a path. Of members with the same name the last one counts, as for most parsers.
fn find<'a>(root: Node<'a>, path: &[String]) -> Option<Node<'a>> {
    path.iter().try_fold(root, |node, token| match node.kind() {
        Kind::Object => node.members().filter(|(name, _)| name == token).last().map(|(_, value)| value),
        Kind::Array => node.elements().nth(index(token)?),
        _ => None,
    })
}

/// An array index in the form of RFC 6901.
fn index(token: &str) -> Option<usize> {
    let is_plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    token.parse().ok().filter(|_| is_plain)
}

/// The position of `part` within `text`. `part` must be a slice of `text`.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn place(text: &str, path: &Pointer) -> Result<Range<usize>, &'static str> {
    let tape = read(text)?;
    let node = find(tape.root(text), &path.0).ok_or(NOTHING_THERE)?;
    Ok(range(text, node.raw()))
}

fn add(text: &mut String, path: &Pointer, value: &str) -> Result<(), &'static str> {
    let Some((last, parents)) = path.0.split_last() else {
        value.clone_into(text);
        return Ok(());
    };
    let tape = read(text)?;
    let parent = find(tape.root(text), parents).ok_or("there is nothing to add to")?;
    let inside = range(text, parent.raw()).start + 1;
    let (at, new) = match parent.kind() {
        Kind::Object => {
            let name = serde_json::to_string(last).unwrap_or_default();
            match (find(parent, std::slice::from_ref(last)), parent.members().last()) {
                (Some(old), _) => (range(text, old.raw()), value.to_owned()),
                (None, Some((_, last))) => (after(text, last), format!(",{name}:{value}")),
                (None, None) => (inside..inside, format!("{name}:{value}")),
            }
        }
        Kind::Array => {
            let count = parent.count();
            let index = if last == "-" { Some(count) } else { index(last) }.filter(|index| *index <= count);
            let index = index.ok_or("the array has no such index")?;
            match (parent.elements().nth(index), parent.elements().last()) {
                (Some(next), _) => {
                    let at = range(text, next.raw()).start;
                    (at..at, format!("{value},"))
                }
                (None, Some(last)) => (after(text, last), format!(",{value}")),
                (None, None) => (inside..inside, value.to_owned()),
            }
        }
        _ => return Err("there is neither an object nor an array to add to"),
    };
    text.replace_range(at, &new);
    Ok(())
}

/// The empty range directly after a value.
fn after(text: &str, node: Node<'_>) -> Range<usize> {
    let end = range(text, node.raw()).end;
    end..end
}

fn remove(text: &mut String, path: &Pointer) -> Result<(), &'static str> {
    let (last, parents) = path.0.split_last().ok_or(NOTHING_THERE)?;
    let tape = read(text)?;
    let parent = find(tape.root(text), parents).ok_or(NOTHING_THERE)?;
    let (children, index): (Vec<Range<usize>>, _) = match parent.kind() {
        Kind::Object => {
            let index = parent.members().enumerate().filter(|(_, (name, _))| name == last).last().map(|(index, _)| index);
            (parent.members().with_raw().map(|(_, raw)| range(text, raw)).collect(), index)
        }
        Kind::Array => (parent.elements().map(|element| range(text, element.raw())).collect(), index(last)),
        _ => (Vec::new(), None),
    };
    let index = index.filter(|index| *index < children.len()).ok_or(NOTHING_THERE)?;
    // Remove one adjacent comma with the value.
    let gone = match (children.get(index + 1), index.checked_sub(1)) {
        (Some(next), _) => children[index].start..next.start,
        (None, Some(before)) => children[before].end..children[index].end,
        (None, None) => children[index].clone(),
    };
    text.replace_range(gone, "");
    Ok(())
}

/// Whether two values are equal by RFC 6902: numbers by value, strings by characters, members in any order.
fn equal(a: Node<'_>, b: Node<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Number, Kind::Number) => decimal(a.raw()) == decimal(b.raw()),
        (Kind::String, Kind::String) => a.string() == b.string(),
        (Kind::Array, Kind::Array) => a.count() == b.count() && a.elements().zip(b.elements()).all(|(a, b)| equal(a, b)),
        (Kind::Object, Kind::Object) => {
            let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (a.members().collect(), b.members().collect());
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(*value, *other)))
        }
        (a_kind, b_kind) => a_kind == b_kind && a.raw() == b.raw(),
    }
}

/// The sign, digits and power of ten of a number, the same for every spelling of the number.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 });
    (text.starts_with('-'), significant.to_owned(), exponent.saturating_add(zeros as i64 - fraction.len() as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn applied(patch: &Value, text: &str) -> Result<String, String> {
        let patch = Patch::parse(&patch.to_string()).map_err(|error| error.to_string())?;
        patch.apply(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_named_keeps_every_byte() {
        let text =
            "{ \"n\": 1.10,\n  \"big\":123456789012345678901234567890 , \"e\":1e400,\"s\":\"\\u00e9\\/\",\"price\" : \"14.50\"}";
        let patch = json!([{"op": "replace", "path": "/price", "value": 1450}]);
        assert_eq!(applied(&patch, text).unwrap(), text.replace("\"14.50\"", "1450"));
        // The digits of values that a patch adds or moves are kept too.
        let patch = r#"[{"op":"add","path":"/new","value":-0.10e+2},{"op":"move","from":"/big","path":"/n"},{"op":"remove","path":"/e"}]"#;
        let moved = "{ \"n\": 123456789012345678901234567890,\n  \"s\":\"\\u00e9\\/\",\"price\" : \"14.50\",\"new\":-0.10e+2}";
        assert_eq!(Patch::parse(patch).unwrap().apply(text).unwrap(), moved);
    }

    #[test]
    fn commas_stand_where_they_must() {
        let remove = |path: &str, text: &str| applied(&json!([{"op": "remove", "path": path}]), text).unwrap();
        assert_eq!(remove("/a", r#"{"a":1 , "b":2}"#), r#"{"b":2}"#);
        assert_eq!(remove("/b", r#"{"a":1 , "b":2 }"#), r#"{"a":1 }"#);
        assert_eq!(remove("/a", r#"{ "a":1 }"#), "{  }");
        assert_eq!(remove("/0", "[1,2]"), "[2]");
        let add = |path: &str, text: &str| applied(&json!([{"op": "add", "path": path, "value": 0}]), text).unwrap();
        assert_eq!(add("/x\"~1~0", "{}"), r#"{"x\"/~":0}"#);
        assert_eq!(add("/-", "[ ]"), "[0 ]");
        assert_eq!(add("/1", "[1, 2]"), "[1, 0,2]");
        assert_eq!(add("/2", "[1, 2]"), "[1, 2,0]");
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_else() {
        let text = r#"{"a":[1],"b":1.0}"#;
        for (patch, said) in [
            (json!([{"op": "replace", "path": "/x", "value": 1}]), "replace \"/x\": there is nothing at this place"),
            (json!([{"op": "add", "path": "/x/y", "value": 1}]), "add \"/x/y\": there is nothing to add to"),
            (
                json!([{"op": "add", "path": "/b/y", "value": 1}]),
                "add \"/b/y\": there is neither an object nor an array to add to",
            ),
            (json!([{"op": "add", "path": "/a/2", "value": 1}]), "add \"/a/2\": the array has no such index"),
            (json!([{"op": "add", "path": "/a/01", "value": 1}]), "add \"/a/01\": the array has no such index"),
            (json!([{"op": "test", "path": "/b", "value": 1.01}]), "test \"/b\": the value is another one"),
            (json!([{"op": "test", "path": "/b"}]), "operation 0 of the patch: \"value\" is missing"),
            (json!([{"op": "move", "path": "/b"}]), "operation 0 of the patch: \"from\" is missing"),
            (json!([{"op": "remove", "path": "b"}]), "operation 0 of the patch: \"path\" is no JSON pointer"),
            (json!([{"op": "remove", "path": "/~2"}]), "operation 0 of the patch: \"path\" is no JSON pointer"),
            (
                json!([{"op": "move", "from": "/a", "path": "/a/0"}]),
                "operation 0 of the patch: a value cannot be moved into itself",
            ),
            (json!([]), "the patch has 0 operations; 1 to 100 are allowed"),
        ] {
            assert_eq!(applied(&patch, text).unwrap_err(), said);
        }
        let strange = applied(&json!([{"op": "mend", "path": ""}]), text).unwrap_err();
        assert!(strange.contains("unknown variant `mend`"), "{strange}");
        assert!(Patch::parse("{}").is_err());
        assert!(Patch::parse(r#"[{"op":"remove","path":"/a"}]"#).unwrap().apply("{\"a\":1} {}").is_err());
    }

    #[test]
    fn a_patch_cannot_make_an_event_of_any_size() {
        let double = json!({"op": "copy", "from": "", "path": "/a/-"});
        let refused = applied(&Value::Array(vec![double; 60]), r#"{"a":[1],"b":1.0}"#).unwrap_err();
        assert!(refused.contains("grows beyond"), "{refused}");
    }

    #[test]
    fn values_are_equal_however_they_are_spelled() {
        let test = |value: &str, text: &str| {
            Patch::parse(&format!(r#"[{{"op":"test","path":"","value":{value}}}]"#)).unwrap().apply(text).is_ok()
        };
        assert!(test("10", "1e1") && test("-0", "0.00") && test("0.50", "5E-1") && test("100", "1.0e+2"));
        assert!(test("\"é\"", "\"\\u00e9\"") && test("null", " null ") && test(r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#));
        assert!(!test("123456789012345678901234567890", "123456789012345678901234567891"));
        assert!(!test("true", "false") && !test("[1,2]", "[2,1]") && !test("{\"a\":1}", "{}") && !test("1", "\"1\""));
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-5i64..5).prop_map(Value::from),
            "[ab~/\"é]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab~/]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A pointer that usually exists: steps are numbers, names of the document, or arbitrary.
    fn any_pointer(document: &Value, choices: &[u8]) -> String {
        let mut pointer = String::new();
        let mut at = Some(document);
        for choice in choices {
            let token = match at {
                Some(Value::Object(members)) if choice % 5 > 0 && !members.is_empty() => {
                    members.keys().nth(usize::from(*choice) % members.len()).cloned().unwrap_or_default()
                }
                Some(Value::Array(elements)) => match choice % 5 {
                    0 => "-".into(),
                    1 => elements.len().to_string(),
                    _ => (usize::from(*choice) % elements.len().max(1)).to_string(),
                },
                Some(Value::Object(_)) => "new".into(),
                _ => break,
            };
            let token = token.replace('~', "~0").replace('/', "~1");
            pointer = format!("{pointer}/{token}");
            at = document.pointer(&pointer);
        }
        pointer
    }

    proptest! {
        #[test]
        fn it_does_what_a_patch_of_value_trees_does(
            document in any_document(),
            operations in prop::collection::vec((0..6u8, prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..4), any_document()), 1..4),
            pretty in any::<bool>(),
        ) {
            let operations: Vec<Value> = operations.into_iter().map(|(kind, path, from, value)| {
                let (path, from) = (any_pointer(&document, &path), any_pointer(&document, &from));
                let op = ["add", "remove", "replace", "move", "copy", "test"][usize::from(kind)];
                json!({"op": op, "path": path, "from": from, "value": value})
            }).collect();
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            let patch = Value::Array(operations);
            // The two differ here, and clients do not send this: the whole document removed, or moved into itself.
            let odd = patch.as_array().unwrap().iter().any(|operation| {
                let text = |name: &str| operation[name].as_str().unwrap().to_owned();
                match operation["op"].as_str() {
                    Some("remove") => text("path").is_empty(),
                    Some("move") => text("path").starts_with(&text("from")),
                    _ => false,
                }
            });
            if !odd {
                let mut expected = document.clone();
                // Use the variant without rollback, because the other panics if it cannot roll back.
                let theirs = json_patch::patch_unsafe(&mut expected, &serde_json::from_value::<json_patch::Patch>(patch.clone()).unwrap());
                match (applied(&patch, &text), theirs) {
                    (Ok(ours), Ok(())) => prop_assert_eq!(serde_json::from_str::<Value>(&ours).unwrap(), expected),
                    (Err(_), Err(_)) => {}
                    (ours, theirs) => prop_assert!(false, "{} on {}: {:?} and {:?}", patch, text, ours, theirs),
                }
            }
        }
    }
}
