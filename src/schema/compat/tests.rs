//! Typical changes to schemas, each with its true result, worked out by hand; and a search for events that would prove a
//! verdict wrong.

use serde_json::{Value, json};

use super::{mutate::Hints, witness::ValueGenerator, *};

#[allow(clippy::needless_pass_by_value, reason = "schemas are written where they are used")]
mod table;

/// The true result of a change: whether the newer version accepts all events of the older, and the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    /// True or false, but not decidable here.
    Undecided,
}

struct Change {
    name: &'static str,
    old: Value,
    new: Value,
    backward: Truth,
    forward: Truth,
}

impl Change {
    fn versions(&self) -> (Version, Version) {
        let version = |number, document: &Value| {
            Version::new("a:b", number, document).unwrap_or_else(|error| panic!("{}: {error}", self.name))
        };
        (version(1, &self.old), version(2, &self.new))
    }

    fn directions<'a>(&self, old: &'a Version, new: &'a Version) -> [(&'static str, &'a Version, &'a Version, Truth); 2] {
        [("backward", old, new, self.backward), ("forward", new, old, self.forward)]
    }
}

/// A whole schema as people write it: with the envelope, and closed, unless `own` overrides that.
fn event(own: Value) -> Value {
    let mut envelope: Value = serde_json::from_str(include_str!("../../../schemas/common/envelope.json")).unwrap();
    envelope.as_object_mut().unwrap().remove("$schema");
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "allOf": [{ "$ref": "#/$defs/common.envelope" }],
        "unevaluatedProperties": false,
        "$defs": {},
    });
    let Value::Object(own) = own else { panic!("{own}") };
    for (keyword, value) in own {
        match keyword.as_str() {
            "open" => drop(schema.as_object_mut().unwrap().remove("unevaluatedProperties")),
            _ => schema[&keyword] = value,
        }
    }
    schema["$defs"]["common.envelope"] = envelope;
    schema
}

/// A change of one optional member.
fn member(name: &'static str, old: Value, new: Value, backward: Truth, forward: Truth) -> Change {
    let whole = |schema: Value| event(json!({ "properties": { "f": schema, "other": { "type": "string" } } }));
    Change { name, old: whole(old), new: whole(new), backward, forward }
}

fn whole(name: &'static str, old: Value, new: Value, backward: Truth, forward: Truth) -> Change {
    Change { name, old: event(old), new: event(new), backward, forward }
}

fn truth(verdict: &Verdict) -> Truth {
    match verdict {
        Verdict::Proved => Truth::Yes,
        Verdict::Refuted(_) => Truth::No,
        Verdict::Undecided(_) => Truth::Undecided,
    }
}

#[test]
fn every_change_has_the_verdict_that_was_worked_out_by_hand() {
    let changes = table::changes();
    assert!(changes.len() > 60, "{}", changes.len());
    let mut comparer = Comparer::default();
    let mut wrong = Vec::new();
    for change in &changes {
        let (old, new) = change.versions();
        for (way, from, to, expected) in change.directions(&old, &new) {
            let verdict = comparer.compare(from, to);
            if truth(&verdict) != expected {
                wrong.push(format!("{} {way}: {verdict:?} where {expected:?} was expected", change.name));
            }
            if let Verdict::Refuted(witness) = &verdict {
                let event = witness.event.to_string();
                assert!(from.accepts(&event) && !to.accepts(&event), "{} {way}: {event}", change.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * changes.len(), wrong.join("\n"));
}

/// Each mode's verdict on two versions, from the true result of the change.
#[test]
fn every_mode_follows_from_the_two_directions() {
    for change in table::changes() {
        for mode in Mode::ALL {
            let demanded = mode.demands(&[1, 2], &|_| false);
            let truths = demanded
                .iter()
                .map(|demand| if demand.direction == Direction::Backward { change.backward } else { change.forward });
            let holds = truths.clone().all(|truth| truth == Truth::Yes);
            let expected = match mode {
                Mode::Backward | Mode::BackwardTransitive => change.backward == Truth::Yes,
                Mode::Forward | Mode::ForwardTransitive => change.forward == Truth::Yes,
                Mode::Full | Mode::FullTransitive => change.backward == Truth::Yes && change.forward == Truth::Yes,
                Mode::None => true,
            };
            assert_eq!(holds, expected, "{} {mode}", change.name);
        }
    }
}

/// Events for a version: generated from its canonical form, also at random, and each of them with one change.
fn events_of(version: &Version, other: &Version, seed: u64) -> Vec<Value> {
    let mut patterns = patterns::Patterns::default();
    let mut maker = ValueGenerator::new(&mut patterns, seed, 6);
    let hints = Hints::of(&[&version.flat, &other.flat]);
    let mut events = Vec::new();
    for side in [version, other] {
        let Ok(form) = side.canonical(&side.flat) else { continue };
        for branch in ValueGenerator::branches(&form) {
            events.extend(maker.values(&branch).iter().cloned());
        }
    }
    events.truncate(90);
    let mut random = fastrand::Rng::with_seed(seed);
    let some: Vec<Value> = events.iter().step_by(events.len() / 6 + 1).cloned().collect();
    for event in some {
        let mut mutations = hints.mutations(&event);
        random.shuffle(&mut mutations);
        events.extend(mutations.into_iter().take(16));
    }
    events
}

#[test]
fn no_event_contradicts_a_verdict() {
    let (mut tried, mut taken) = (0, 0);
    for (seed, change) in table::changes().iter().enumerate() {
        let (old, new) = change.versions();
        let events = events_of(&old, &new, seed as u64);
        let mut accepted = [0, 0];
        for event in &events {
            let text = event.to_string();
            let sides = [old.accepts(&text), new.accepts(&text)];
            accepted = [accepted[0] + usize::from(sides[0]), accepted[1] + usize::from(sides[1])];
            // The true result was written by hand, and the verdicts are compared with it above.
            assert!(change.backward != Truth::Yes || !sides[0] || sides[1], "{} backward: {text}", change.name);
            assert!(change.forward != Truth::Yes || !sides[1] || sides[0], "{} forward: {text}", change.name);
        }
        for (way, truth, count) in [("backward", change.backward, accepted[0]), ("forward", change.forward, accepted[1])] {
            let says_little = truth == Truth::Yes && count < 20;
            assert!(!says_little, "{} {way}: only {count} of {} events say anything", change.name, events.len());
        }
        tried += events.len();
        taken += accepted[0] + accepted[1];
    }
    assert!(tried > 10_000 && taken > 10_000, "{tried} {taken}");
}
