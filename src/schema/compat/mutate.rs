//! Events that differ from an example in one thing: values that the schemas mention are tried in every place.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{super::flatten::DATA, witness::odd};

/// Values to try, by the name of the member that a schema gives them to.
#[derive(Debug, Default)]
pub(super) struct Hints {
    by_name: BTreeMap<String, Vec<Value>>,
}

/// Values tried per member.
const EACH_MAX: usize = 48;

impl Hints {
    /// The values in these schemas.
    pub(super) fn of(schemas: &[&Value]) -> Self {
        let mut hints = Self::default();
        schemas.iter().for_each(|schema| hints.collect(schema));
        for values in hints.by_name.values_mut() {
            values.extend(odd());
            let mut seen = std::collections::HashSet::new();
            values.retain(|value| seen.insert(value.to_string()));
            values.truncate(EACH_MAX);
        }
        hints
    }

    fn collect(&mut self, schema: &Value) {
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(members) => {
                for (keyword, value) in members {
                    if DATA.contains(&keyword.as_str()) {
                        continue;
                    }
                    if let ("properties", Value::Object(properties)) = (keyword.as_str(), value) {
                        for (name, property) in properties {
                            spoken_of(property, self.by_name.entry(name.clone()).or_default());
                        }
                    }
                    self.collect(value);
                }
            }
            _ => {}
        }
    }

    /// Copies of `event` with one change each, for every change that the schemas suggest.
    pub(super) fn mutations(&self, event: &Value) -> Vec<Value> {
        let mut out = Vec::new();
        self.change(event, "", &mut |changed| out.push(changed));
        out
    }

    fn change(&self, value: &Value, name: &str, put: &mut dyn FnMut(Value)) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let mut without = members.clone();
                    without.remove(name);
                    put(Value::Object(without));
                    self.change(member, name, &mut |changed| {
                        let mut members = members.clone();
                        members.insert(name.clone(), changed);
                        put(Value::Object(members));
                    });
                }
                let strange = "surprise".to_owned();
                for name in self.by_name.keys().chain([&strange]).filter(|name| !members.contains_key(*name)) {
                    for value in self.by_name.get(name).into_iter().flatten().chain(&[json!("x"), json!(1)]) {
                        let mut members = members.clone();
                        members.insert(name.clone(), value.clone());
                        put(Value::Object(members));
                    }
                }
            }
            Value::Array(items) => {
                for index in 0..items.len().min(3) {
                    let mut without = items.clone();
                    without.remove(index);
                    put(without.into());
                    let mut twice = items.clone();
                    twice.push(items[index].clone());
                    put(twice.into());
                    self.change(&items[index], name, &mut |changed| {
                        let mut items = items.clone();
                        items[index] = changed;
                        put(items.into());
                    });
                }
            }
            _ => {}
        }
        for other in self.by_name.get(name).into_iter().flatten() {
            put(other.clone());
        }
    }
}

/// The values that a schema names, and the values at its bounds.
fn spoken_of(schema: &Value, out: &mut Vec<Value>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| spoken_of(item, out)),
        Value::Object(members) => {
            for (keyword, value) in members {
                match (keyword.as_str(), value) {
                    ("const" | "default", value) => out.push(value.clone()),
                    ("enum" | "examples", Value::Array(values)) => out.extend(values.iter().cloned()),
                    ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf", Value::Number(bound)) => {
                        if let Some(whole) = bound.as_i64() {
                            out.extend([-1, 0, 1].map(|offset| json!(whole.saturating_add(offset))));
                        }
                        if let Some(number) = bound.as_f64() {
                            out.extend([0.5, -0.5].map(|offset| json!(number + offset)));
                        }
                    }
                    ("minLength" | "maxLength", Value::Number(bound)) => {
                        let lengths = bound.as_u64().filter(|&bound| bound < 5_000).into_iter();
                        let lengths = lengths.flat_map(|bound| [bound.saturating_sub(1), bound, bound + 1]);
                        out.extend(lengths.map(|length| Value::from("x".repeat(length as usize))));
                    }
                    ("type", kinds) => out.extend(of_kinds(kinds)),
                    (_, value) => spoken_of(value, out),
                }
            }
        }
        _ => {}
    }
}

fn of_kinds(kinds: &Value) -> Vec<Value> {
    let names = match kinds {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    let sample = |name: &Value| match name.as_str() {
        Some("integer") => vec![json!(1), json!(7)],
        Some("number") => vec![json!(0.5)],
        Some("string") => vec![json!("abc")],
        Some("boolean") => vec![json!(false)],
        Some("array") => vec![json!(["x"]), json!(["x", "x"])],
        _ => Vec::new(),
    };
    names.iter().flat_map(sample).collect()
}
