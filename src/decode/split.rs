//! The forms of a body: one object, an array, `{"events": [...]}`, or one object per line.
//!
//! One pass, element by element, into one reused tape: memory is bounded by the largest event, not by the body. An error inside
//! an element rejects that element. An error in the JSON around the elements refuses the body, because the start of the next
//! element is then unknown.
//!
//! Every event must be counted. So a batch can be read in one way only: `events` occurs once, and the rest of the batch holds
//! no events. Any other batch is refused, because some of its events would be lost.

use std::{convert::Infallible, sync::LazyLock};

use memchr::memmem::Finder;

use super::mistakes::{body_hint, encoded_twice};
use crate::{
    json::{JsonError, JsonErrorKind, Kind, Node, Parser, Tape, kind_shown},
    limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX, EVENT_NODES_MAX, EVENTS_PER_REQUEST_MAX},
    outcome::{RejectCode, Rejection},
};

/// The form in which a body holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/json`: one object, an array, or `{"events": [...]}`.
    Json,
    /// `application/x-ndjson`: one object per line.
    Ndjson,
    /// `text/plain`: any of these forms, detected from the content.
    Any,
}

/// Why a body cannot be split into events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON.
    #[error("the body is not valid JSON: {0}{1}")]
    Unreadable(JsonError, &'static str),
    /// JSON, but neither an object nor an array.
    #[error("the body is neither an object nor an array of objects{0}")]
    NotEvents(&'static str),
    /// Nested too deep.
    #[error("the body is {0}")]
    TooDeep(JsonError),
    /// Not UTF-8.
    #[error("the body is not UTF-8: invalid sequence at byte {0}")]
    InvalidUtf8(usize),
    /// Begins with the byte order mark of another encoding.
    #[error("the body begins with the byte order mark of {0}; send it in UTF-8")]
    OtherEncoding(&'static str),
    /// Looks like another encoding, without its byte order mark.
    #[error("the body looks like {0}, which is not JSON; send it in UTF-8")]
    LooksLike(&'static str),
    /// A batch that can be read in two ways: some events would be in no count.
    #[error("{0}")]
    AmbiguousBatch(&'static str),
    /// No event in the body.
    #[error("the body holds no event")]
    NoEvents,
    /// More events than one request may have.
    #[error("the body holds more than {EVENTS_PER_REQUEST_MAX} events; send several requests")]
    TooManyEvents,
}

/// One element of a body.
#[derive(Debug)]
pub struct Element<'a> {
    /// Its bytes as the client wrote them.
    pub raw: &'a [u8],
    /// The object, or the reason why it cannot be an event.
    pub event: Result<Node<'a>, Rejection>,
}

/// Calls `visit` with every element of `body`, in order, and returns their number.
///
/// # Errors
/// [`BodyError`], possibly after some elements were visited: discard the results for the whole body then.
pub fn for_each_element(body: &[u8], form: BodyForm, mut visit: impl FnMut(Element<'_>)) -> Result<usize, BodyError> {
    try_for_each_element(body, form, |element| {
        visit(element);
        Ok(())
    })
}

/// Like [`for_each_element`], but stops when `visit` fails.
///
/// # Errors
/// The error of `visit`, or [`BodyError`].
pub fn try_for_each_element<E: From<BodyError>>(
    body: &[u8],
    form: BodyForm,
    mut visit: impl FnMut(Element<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let mut splitter = Splitter::<_, true> { tape: Tape::kept(), count: 0, visit: &mut visit };
    let done = splitter.body(body, form);
    let Splitter { tape, count, .. } = splitter;
    tape.keep();
    match done {
        Ok(()) if count == 0 => Err(BodyError::NoEvents.into()),
        Ok(()) => Ok(count),
        Err(Halt::Body(error)) => Err(error.into()),
        Err(Halt::Visit(error)) => Err(error),
    }
}

/// How many elements [`for_each_element`] would visit. Elements are not validated, and lines are not parsed, because a client
/// that is refused for its number of events sends them again and again, and describing their errors takes ten times as long.
///
/// # Errors
/// [`BodyError`]
pub fn count_elements(body: &[u8], form: BodyForm) -> Result<usize, BodyError> {
    let mut visit = |_: Element<'_>| Ok::<(), BodyError>(());
    let mut splitter = Splitter::<_, false> { tape: Tape::new(), count: 0, visit: &mut visit };
    match splitter.body(body, form) {
        Ok(()) if splitter.count == 0 => Err(BodyError::NoEvents),
        Ok(()) => Ok(splitter.count),
        Err(Halt::Body(error) | Halt::Visit(error)) => Err(error),
    }
}

/// Estimates the events in `body` by counting `"event_uuid"`, at a tenth of the cost of splitting. Events without that field,
/// or with escapes in its name, are not counted; repeated names are counted too often.
#[must_use]
pub fn events_named(body: &[u8]) -> usize {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"event_uuid\""));
    NAME.find_iter(body).count()
}

/// Why splitting stopped early.
enum Halt<E> {
    Body(BodyError),
    Visit(E),
}

impl<E> From<BodyError> for Halt<E> {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

/// The body without its byte order mark, which Windows programs write before UTF-8 and which has no meaning (RFC 8259, section
/// 8.1 lets a parser skip the mark).
fn without_mark(body: &[u8]) -> Result<&[u8], BodyError> {
    match body {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(rest),
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Err(BodyError::OtherEncoding("UTF-32")),
        [0xFF, 0xFE, ..] => Err(BodyError::OtherEncoding("UTF-16, little-endian")),
        [0xFE, 0xFF, ..] => Err(BodyError::OtherEncoding("UTF-16, big-endian")),
        // No JSON has a zero byte. Its first character is ASCII in any encoding.
        [1..=255, 0, 0, 0, ..] | [0, 0, 0, 1..=255, ..] => Err(BodyError::LooksLike("UTF-32")),
        [1..=255, 0, ..] | [0, 1..=255, ..] => Err(BodyError::LooksLike("UTF-16")),
        _ => Ok(body),
    }
}

/// A hint if byte `at` is a byte order mark, because people cannot see the mark on a screen.
fn mark_at(text: &str, at: usize) -> &'static str {
    let is_mark = text.get(at..).is_some_and(|rest| rest.starts_with('\u{FEFF}'));
    if is_mark { " (a byte order mark, U+FEFF, which may stand at the start of the body only)" } else { "" }
}

fn name_mark(error: BodyError, text: &str) -> BodyError {
    match error {
        BodyError::Unreadable(error, _) if !mark_at(text, error.offset).is_empty() => {
            BodyError::Unreadable(error, mark_at(text, error.offset))
        }
        error => error,
    }
}

/// The error with what the body looks like, if it is no JSON at all but something that is sent by mistake.
fn recognised(error: BodyError, text: &str) -> BodyError {
    match error {
        BodyError::Unreadable(error, "") => BodyError::Unreadable(error, body_hint(text)),
        error => error,
    }
}

/// Calls `visit` with `raw` as the only element. An element that was already split off is never split again.
pub fn only_element(raw: &[u8], mut visit: impl FnMut(Element<'_>)) {
    let mut visit = |element: Element<'_>| -> Result<(), Infallible> {
        visit(element);
        Ok(())
    };
    let mut splitter = Splitter::<_, true> { tape: Tape::new(), count: 0, visit: &mut visit };
    // Gateways up to 2026-11 kept the byte order mark of a body as part of its first line.
    let visited = splitter.line(without_mark(raw).unwrap_or(raw).trim_ascii());
    debug_assert!(visited.is_ok(), "one is not too many");
}

/// Whether an object is followed by another value, as with one object per line.
fn holds_several_values(text: &str) -> bool {
    let mut parser = Parser::new(text, 0);
    parser.peek() == Some(b'{') && parser.value(&mut Tape::new()).is_ok() && parser.peek().is_some()
}

/// The kind of a member of the outermost object.
enum Member {
    /// A member that only events have.
    OfEvent,
    /// `events`.
    Events,
    Other,
}

const EVENTS_TWICE: &str = "the batch has two members `events`; put all events into one array";
const EVENTS_BESIDE: &str = "the batch holds events beside its array `events`; put all events into that array";
const EVENT_OR_BATCH: &str = "the object is a batch with `events`, and an event with `event_uuid` or `event_name`; \
                              send either, or, in an event with a field `events`, name that field behind those two";

/// `VISITS`: whether elements are parsed and visited, or only counted.
struct Splitter<'v, V, const VISITS: bool> {
    tape: Tape,
    count: usize,
    visit: &'v mut V,
}

impl<E, V: FnMut(Element<'_>) -> Result<(), E>, const VISITS: bool> Splitter<'_, V, VISITS> {
    fn body(&mut self, body: &[u8], form: BodyForm) -> Result<(), Halt<E>> {
        let body = without_mark(body)?;
        if form == BodyForm::Ndjson {
            return self.lines(body);
        }
        let text = std::str::from_utf8(body).map_err(|error| BodyError::InvalidUtf8(error.valid_up_to()))?;
        if form == BodyForm::Any && holds_several_values(text) {
            return self.lines(body);
        }
        self.json(text).map_err(|halt| match halt {
            Halt::Body(error) => Halt::Body(recognised(name_mark(error, text), text)),
            halt => halt,
        })
    }

    fn json(&mut self, text: &str) -> Result<(), Halt<E>> {
        let mut parser = Parser::new(text, EVENT_NODES_MAX);
        match parser.peek() {
            Some(b'[') => self.array(&mut parser, text)?,
            Some(b'{') => match self.events_array(text)? {
                Some(mut inside) => {
                    self.array(&mut inside, text)?;
                    self.rest_of_object(&mut inside, text)?;
                    parser = inside;
                }
                None => self.element(&mut parser, text)?,
            },
            None => return Err(BodyError::NoEvents.into()),
            Some(_) => {
                parser.value(&mut self.tape).map_err(unreadable)?;
                return Err(BodyError::NotEvents(encoded_twice(&self.tape.root(text))).into());
            }
        }
        match parser.peek() {
            None => Ok(()),
            found => {
                let hint = " (one object per line needs application/x-ndjson)";
                Err(BodyError::Unreadable(parser.unexpected(found), hint).into())
            }
        }
    }

    /// If the object is a batch, `{…, "events": [`, returns a parser positioned before the bracket. An object with `event_uuid`
    /// or `event_name` before `events` is an event, whatever else it holds.
    fn events_array<'a>(&mut self, text: &'a str) -> Result<Option<Parser<'a>>, BodyError> {
        let mut parser = Parser::new(text, EVENT_NODES_MAX);
        parser.expect(b'{').map_err(unreadable)?;
        // The reason why the object is ambiguous if it is a batch.
        let mut before = None;
        while parser.peek() == Some(b'"') {
            match self.member(&mut parser, text)? {
                Member::OfEvent => return Ok(None),
                Member::Events if parser.peek() == Some(b'[') => {
                    return before.map_or(Ok(Some(parser)), |reason| Err(BodyError::AmbiguousBatch(reason)));
                }
                Member::Events => {
                    parser.value(&mut self.tape).map_err(unreadable)?;
                    before = Some(EVENTS_TWICE);
                }
                Member::Other => {
                    if self.is_or_holds_events(&mut parser, text)? {
                        before = before.or(Some(EVENTS_BESIDE));
                    }
                }
            }
            if parser.expect(b',').is_err() {
                break;
            }
        }
        Ok(None)
    }

    /// Reads the name of a member, and the colon.
    fn member(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<Member, BodyError> {
        let name = parser.value(&mut self.tape).map_err(unreadable)?;
        parser.expect(b':').map_err(unreadable)?;
        Ok(match name {
            "\"event_uuid\"" | "\"event_name\"" => Member::OfEvent,
            "\"events\"" => Member::Events,
            // Compare the unescaped name: `"\u0065vents"` is `events`.
            escaped if escaped.contains('\\') => match self.tape.root(text).string().as_deref() {
                Some("event_uuid" | "event_name") => Member::OfEvent,
                Some("events") => Member::Events,
                _ => Member::Other,
            },
            _ => Member::Other,
        })
    }

    /// Reads a value beside `events` in a batch. Returns whether the value is or contains what would be an event elsewhere.
    fn is_or_holds_events(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<bool, BodyError> {
        parser.value(&mut self.tape).map_err(unreadable)?;
        if self.tape.is_overflown() {
            // Too large to search.
            return Ok(true);
        }
        let mut unseen = vec![self.tape.root(text)];
        while let Some(value) = unseen.pop() {
            for (name, value) in value.members() {
                match &*name {
                    "event_uuid" | "event_name" => return Ok(true),
                    "events" if value.kind() == Kind::Array => return Ok(true),
                    _ => unseen.push(value),
                }
            }
            unseen.extend(value.elements());
        }
        Ok(false)
    }

    fn array(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), Halt<E>> {
        parser.expect(b'[').map_err(unreadable)?;
        if parser.peek() == Some(b']') {
            return Ok(parser.expect(b']').map_err(unreadable)?);
        }
        loop {
            self.element(parser, text)?;
            if parser.peek() == Some(b']') {
                return Ok(parser.expect(b']').map_err(unreadable)?);
            }
            parser.expect(b',').map_err(unreadable)?;
        }
    }

    /// Reads the members after `"events": [...]` in the batch; the gateway does not use them.
    fn rest_of_object(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), BodyError> {
        while parser.peek() == Some(b',') {
            parser.expect(b',').map_err(unreadable)?;
            match parser.peek() {
                Some(b'"') => {}
                found => return Err(unreadable(parser.unexpected(found))),
            }
            match self.member(parser, text)? {
                Member::OfEvent => return Err(BodyError::AmbiguousBatch(EVENT_OR_BATCH)),
                Member::Events => return Err(BodyError::AmbiguousBatch(EVENTS_TWICE)),
                Member::Other if self.is_or_holds_events(parser, text)? => return Err(BodyError::AmbiguousBatch(EVENTS_BESIDE)),
                Member::Other => {}
            }
        }
        parser.expect(b'}').map_err(unreadable)
    }

    fn element(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), Halt<E>> {
        let raw = parser.value(&mut self.tape).map_err(unreadable)?;
        self.visit(raw.as_bytes(), text, None)
    }

    fn lines(&mut self, body: &[u8]) -> Result<(), Halt<E>> {
        for line in body.split(|&byte| byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() {
                self.line(line)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Halt<E>> {
        if !VISITS {
            // A line is one element, whatever its content.
            return self.visit(line, "", None);
        }
        let rejection = match std::str::from_utf8(line) {
            Ok(text) => match self.only_value(text) {
                Ok(()) => return self.visit(line, text, None),
                Err(detail) => Rejection::new(RejectCode::InvalidJson, detail, ""),
            },
            Err(error) => {
                let detail = format!("the line is not UTF-8: invalid sequence at byte {}", error.valid_up_to());
                Rejection::new(RejectCode::InvalidUnicode, detail, "")
            }
        };
        self.visit(line, "", Some(rejection))
    }

    fn only_value(&mut self, line: &str) -> Result<(), String> {
        let mut parser = Parser::new(line, EVENT_NODES_MAX);
        let value = parser.value(&mut self.tape);
        value.map_err(|error| format!("the line is not valid JSON: {error}{}", mark_at(line, error.offset)))?;
        match parser.peek() {
            None => Ok(()),
            Some(_) => {
                let at = parser.position();
                Err(format!("the line holds more than one value: the second begins at byte {at}{}", mark_at(line, at)))
            }
        }
    }

    fn visit(&mut self, raw: &[u8], text: &str, rejection: Option<Rejection>) -> Result<(), Halt<E>> {
        if self.count == EVENTS_PER_REQUEST_MAX {
            return Err(BodyError::TooManyEvents.into());
        }
        self.count += 1;
        if !VISITS {
            return Ok(());
        }
        let event = match rejection {
            Some(rejection) => Err(rejection),
            None => check(raw, &self.tape, text).map(|()| self.tape.root(text)),
        };
        (self.visit)(Element { raw, event }).map_err(Halt::Visit)
    }
}

/// The checks that every event must pass before its fields are read.
fn check(raw: &[u8], tape: &Tape, text: &str) -> Result<(), Rejection> {
    let reject = |code, detail: String| Err(Rejection::new(code, detail, ""));
    if raw.len() > EVENT_BYTES_MAX || tape.is_overflown() {
        let detail = format!("the event has {} bytes; at most {EVENT_BYTES_MAX} are allowed", raw.len());
        return reject(RejectCode::EventTooLarge, detail);
    }
    let event = tape.root(text);
    if event.kind() != Kind::Object {
        let hint = encoded_twice(&event);
        return reject(RejectCode::NotAnObject, format!("expected a JSON object, got {}{hint}", kind_shown(&event)));
    }
    if tape.depth() > EVENT_DEPTH_MAX {
        let detail = format!("the event is nested {} levels deep; at most {EVENT_DEPTH_MAX} are allowed", tape.depth());
        return reject(RejectCode::EventTooDeep, detail);
    }
    if tape.has_lone_surrogate() {
        return reject(RejectCode::InvalidUnicode, "a string holds half of a surrogate pair, which no query engine reads".into());
    }
    Ok(())
}

fn unreadable(error: JsonError) -> BodyError {
    match error.kind {
        JsonErrorKind::TooDeep => BodyError::TooDeep(error),
        _ => BodyError::Unreadable(error, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(body: impl AsRef<[u8]>, form: BodyForm) -> Result<Vec<Result<String, RejectCode>>, BodyError> {
        let mut elements = Vec::new();
        let count = for_each_element(body.as_ref(), form, |element| {
            elements.push(match element.event {
                Ok(node) => {
                    assert_eq!(node.raw().as_bytes(), element.raw);
                    Ok(node.raw().to_owned())
                }
                Err(rejection) => Err(rejection.code),
            });
        });
        assert_eq!(count_elements(body.as_ref(), form), count);
        assert_eq!(count?, elements.len());
        Ok(elements)
    }

    fn ok(elements: &[&str]) -> Result<Vec<Result<String, RejectCode>>, BodyError> {
        Ok(elements.iter().map(|element| Ok((*element).to_owned())).collect())
    }

    #[test]
    fn every_form_gives_its_events_byte_for_byte() {
        let (a, b) = (r#"{"a": 1.10}"#, r#"{ "b":"\u00e9" }"#);
        for form in [BodyForm::Json, BodyForm::Any] {
            assert_eq!(split(a, form), ok(&[a]));
            assert_eq!(split(format!(" [{a},\n{b} ] "), form), ok(&[a, b]));
            assert_eq!(split(format!("{{\"events\":[{a},{b}]}}"), form), ok(&[a, b]));
            assert_eq!(split(format!("{{\"sent_at\":[1],\"events\":[{a}],\"x\":{{}}}}"), form), ok(&[a]));
            assert_eq!(split(format!("{{\"\\u0065vents\":[{a}],\"created_at\":7,\"of\":{{\"events\":1}}}}"), form), ok(&[a]));
        }
        for form in [BodyForm::Ndjson, BodyForm::Any] {
            assert_eq!(split(format!("{a}\r\n\n{b}\n"), form), ok(&[a, b]));
        }
        assert_eq!(split(a, BodyForm::Ndjson), ok(&[a]));
    }

    #[test]
    fn an_object_that_names_a_field_of_events_is_an_event_even_with_events_in_it() {
        for event in [r#"{"event_name":"a","events":[{}]}"#, r#"{"x":{},"event_uuid":1,"events":[]}"#, r#"{"events":7}"#, "{}"] {
            assert_eq!(split(event, BodyForm::Json), ok(&[event]));
        }
    }

    #[test]
    fn a_batch_of_which_some_events_would_be_in_no_count_is_refused() {
        for twice in [
            r#"{"events":[{"a":1}],"events":[{"b":1}]}"#,
            r#"{"events":[{"a":1}],"\u0065vents":[{"b":1}]}"#,
            r#"{"\u0065vent\u0073":[],"x":1,"events":[{"b":1}]}"#,
            r#"{"events":[{"a":1}],"events":{"b":1}}"#,
            r#"{"events":{"b":1},"events":[{"a":1}]}"#,
            r#"{"events":null,"events":[{"a":1}]}"#,
        ] {
            assert_eq!(split(twice, BodyForm::Json), Err(BodyError::AmbiguousBatch(EVENTS_TWICE)), "{twice}");
            assert_eq!(split(twice, BodyForm::Any), Err(BodyError::AmbiguousBatch(EVENTS_TWICE)), "{twice}");
        }
        for beside in [
            r#"{"events":[{}],"more":[{"event_uuid":1}]}"#,
            r#"{"event":{"event_name":"a"},"events":[{}]}"#,
            r#"{"events":[{}],"Events":[{"x":{"event_\u006eame":"a"}}]}"#,
            r#"{"data":{"events":[{}]},"events":[{}]}"#,
            &format!(r#"{{"events":[{{}}],"many":[{}0]}}"#, "0,".repeat(EVENT_NODES_MAX)),
        ] {
            assert_eq!(split(beside, BodyForm::Json), Err(BodyError::AmbiguousBatch(EVENTS_BESIDE)), "{beside:.80}");
        }
        for either in [r#"{"events":[{}],"event_uuid":"x"}"#, r#"{"events":[],"a":1,"\u0065vent_name":"x"}"#] {
            assert_eq!(split(either, BodyForm::Json), Err(BodyError::AmbiguousBatch(EVENT_OR_BATCH)), "{either}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_of_the_body_and_named_elsewhere() {
        for form in [BodyForm::Json, BodyForm::Ndjson, BodyForm::Any] {
            assert_eq!(split("\u{feff}{\"a\":1}", form), ok(&["{\"a\":1}"]));
            assert_eq!(split("\u{feff}", form), Err(BodyError::NoEvents));
            for (bytes, name) in
                [(&b"\xff\xfe{\0}\0"[..], "UTF-16, l"), (b"\xfe\xff\0{\0}", "UTF-16, b"), (b"\xff\xfe\0\0", "UTF-32")]
            {
                let refused = split(bytes, form).unwrap_err();
                assert!(matches!(refused, BodyError::OtherEncoding(_)) && refused.to_string().contains(name), "{refused}");
            }
        }
        for form in [BodyForm::Json, BodyForm::Any] {
            assert_eq!(split("\u{feff} [{},\n{}]", form), ok(&["{}", "{}"]));
            assert_eq!(split("\u{feff}{\"events\":[{}]}", form), ok(&["{}"]));
            for inside in ["\u{feff}\u{feff}{}", "[\u{feff}{}]", "[{}]\u{feff}", "{\"a\":\u{feff}1}", "{\"events\":[{}]\u{feff}}"]
            {
                let refused = split(inside, form).unwrap_err().to_string();
                assert!(refused.contains("a byte order mark, U+FEFF"), "{inside:?}: {refused}");
            }
        }
        for form in [BodyForm::Ndjson, BodyForm::Any] {
            let mut details = Vec::new();
            let body = "\u{feff}{\"a\":1}\n\u{feff}{\"b\":1}\n{\"c\":1}\u{feff}\n{\"d\":\"\u{feff}\"}\n";
            let visit = |element: Element<'_>| {
                details.push(element.event.map_or_else(|rejection| rejection.faults[0].detail.clone(), |_| String::new()));
            };
            assert_eq!(for_each_element(body.as_bytes(), form, visit), Ok(4));
            assert_eq!(details.iter().map(|detail| detail.contains("U+FEFF")).collect::<Vec<_>>(), [false, true, true, false]);
        }
        let mut kept = Vec::new();
        only_element("\u{feff}{\"a\":1}".as_bytes(), |element| kept.push((element.raw.to_vec(), element.event.is_ok())));
        assert_eq!(kept, [(b"{\"a\":1}".to_vec(), true)]);
    }

    /// A body of 20 bytes may inflate to 8,000 such lines, and the client may send it again after each refusal.
    #[test]
    fn to_count_costs_a_fraction_of_what_it_costs_to_say_what_is_wrong() {
        fn quickest(mut work: impl FnMut() -> Result<usize, BodyError>) -> std::time::Duration {
            let once = |_| {
                let started = std::time::Instant::now();
                assert_eq!(work(), Ok(8_000));
                started.elapsed()
            };
            (0..5).map(once).min().expect("five times")
        }
        for (body, form) in [("1\n".repeat(8_000), BodyForm::Ndjson), (format!("[{}1]", "1,".repeat(7_999)), BodyForm::Json)] {
            let counted = quickest(|| count_elements(body.as_bytes(), form));
            let visited = quickest(|| for_each_element(body.as_bytes(), form, |_| ()));
            assert!(counted * 2 < visited, "{form:?}: {counted:?} to count, {visited:?} to visit");
        }
    }

    #[test]
    fn one_bad_element_never_costs_its_neighbours() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX));
        let body = format!(r#"[{{"a":1}},7,"s",null,[{{}}],{deep},{large},{{"s":"\ud800"}},{{"z":1}}]"#);
        use RejectCode::{EventTooDeep, EventTooLarge, InvalidUnicode, NotAnObject};
        let expected = vec![
            Ok(r#"{"a":1}"#.to_owned()),
            Err(NotAnObject),
            Err(NotAnObject),
            Err(NotAnObject),
            Err(NotAnObject),
            Err(EventTooDeep),
            Err(EventTooLarge),
            Err(InvalidUnicode),
            Ok(r#"{"z":1}"#.to_owned()),
        ];
        assert_eq!(split(body, BodyForm::Json), Ok(expected));
    }

    #[test]
    fn in_lines_even_broken_json_costs_only_its_line() {
        let body = b"{\"a\":1}\n{\"a\":\n{} {}\n\xff\n[{}]\n{\"z\":1}";
        use RejectCode::{InvalidJson, InvalidUnicode, NotAnObject};
        let expected = vec![
            Ok("{\"a\":1}".to_owned()),
            Err(InvalidJson),
            Err(InvalidJson),
            Err(InvalidUnicode),
            Err(NotAnObject),
            Ok("{\"z\":1}".to_owned()),
        ];
        assert_eq!(split(body, BodyForm::Ndjson), Ok(expected));
    }

    #[test]
    fn bodies_that_cannot_be_told_apart_are_refused_whole() {
        let json = |body: &[u8]| split(body, BodyForm::Json).unwrap_err();
        assert!(matches!(json(b"{\"a\":1"), BodyError::Unreadable(..)));
        assert!(matches!(json(b"[{},{\"a\":NaN}]"), BodyError::Unreadable(..)));
        assert!(matches!(json(b"[{},]"), BodyError::Unreadable(..)));
        assert!(matches!(json(b"{}{}"), BodyError::Unreadable(..)));
        assert!(matches!(json(b"{\"events\":[{}]"), BodyError::Unreadable(..)));
        assert!(matches!(json(b"{\"events\":[{}],}"), BodyError::Unreadable(..)));
        assert!(matches!(json("[".repeat(100_000).as_bytes()), BodyError::TooDeep(_)));
        assert_eq!(json(b"\"text\""), BodyError::NotEvents(""));
        assert_eq!(json(b"[{\"a\":\"\xff\"}]"), BodyError::InvalidUtf8(7));
        for empty in ["", " \n ", "[]", "{\"events\":[]}"] {
            assert_eq!(json(empty.as_bytes()), BodyError::NoEvents, "{empty:?}");
        }
        assert_eq!(split("\n\n", BodyForm::Ndjson), Err(BodyError::NoEvents));
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let body = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(split(body(EVENTS_PER_REQUEST_MAX), BodyForm::Json).unwrap().len(), EVENTS_PER_REQUEST_MAX);
        assert_eq!(split(body(EVENTS_PER_REQUEST_MAX + 1), BodyForm::Json), Err(BodyError::TooManyEvents));
    }

    #[test]
    fn a_visit_that_fails_ends_it() {
        #[derive(Debug, PartialEq)]
        struct Enough;
        impl From<BodyError> for Enough {
            fn from(error: BodyError) -> Self {
                panic!("{error}")
            }
        }
        for (body, form) in
            [("[{},{},{}", BodyForm::Json), ("{\"events\":[{},{},{}", BodyForm::Json), ("{}\n{}\n{}", BodyForm::Any)]
        {
            let mut visited = 0;
            let visit = |_: Element<'_>| {
                visited += 1;
                if visited == 2 { Err(Enough) } else { Ok(()) }
            };
            assert_eq!((try_for_each_element(body.as_bytes(), form, visit), visited), (Err(Enough), 2), "{body}");
        }
    }

    #[test]
    fn events_are_counted_by_the_field_that_each_has() {
        assert_eq!(events_named(b"[{\"event_uuid\":1},{ \"event_uuid\" : 2},{\"event_name\":\"x\"}]"), 2);
        assert_eq!((events_named(b""), events_named(b"{\"\\u0065vent_uuid\":1}")), (0, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_invent_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for form in [BodyForm::Json, BodyForm::Ndjson, BodyForm::Any] {
                let _ = for_each_element(&body, form, |element| {
                    assert!(body.windows(element.raw.len().max(1)).any(|window| window == element.raw));
                });
            }
        }
    }
}
