//! The forms of a body: one object, an array, `{"events": [...]}`, or one object per line.
//!
//! One pass, element by element, into one reused tape: memory stays at the size of the largest event, not of the body.
//! What is wrong inside one element costs that element; what is wrong with the JSON around it costs the body, because
//! then nobody can say where the next element begins.

use crate::{
    json::{JsonError, JsonErrorKind, Kind, Node, Parser, Tape, kind_shown},
    limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX, EVENT_NODES_MAX, EVENTS_PER_REQUEST_MAX},
    outcome::{RejectCode, Rejection},
};

/// How a body says where its events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/json`: one object, an array, or `{"events": [...]}`.
    Json,
    /// `application/x-ndjson`: one object per line.
    Ndjson,
    /// `text/plain`: any of them, told by looking.
    Any,
}

/// Why a body holds no events that could be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON.
    #[error("the body is not valid JSON: {0}{1}")]
    Unreadable(JsonError, &'static str),
    /// JSON, but neither an object nor an array.
    #[error("the body is neither an object nor an array of objects")]
    NotEvents,
    /// Nested beyond all measure.
    #[error("the body is {0}")]
    TooDeep(JsonError),
    /// Not UTF-8.
    #[error("the body is not UTF-8: invalid sequence at byte {0}")]
    InvalidUtf8(usize),
    /// No event in it.
    #[error("the body holds no event")]
    NoEvents,
    /// More events than one request may bring.
    #[error("the body holds more than {EVENTS_PER_REQUEST_MAX} events; send several requests")]
    TooManyEvents,
}

/// One element of a body.
#[derive(Debug)]
pub struct Element<'a> {
    /// Its bytes as the client wrote them.
    pub raw: &'a [u8],
    /// The object, or why it cannot be an event.
    pub event: Result<Node<'a>, Rejection>,
}

/// Calls `visit` with every element of `body`, in order, and says how many there were.
///
/// # Errors
/// [`BodyError`], possibly after some elements were visited: nothing of the body must be kept then.
pub fn for_each_element(body: &[u8], form: BodyForm, mut visit: impl FnMut(Element<'_>)) -> Result<usize, BodyError> {
    let mut splitter = Splitter { tape: Tape::new(), count: 0, visit: &mut visit };
    match form {
        BodyForm::Ndjson => splitter.lines(body)?,
        BodyForm::Json | BodyForm::Any => {
            let text = match std::str::from_utf8(body) {
                Ok(text) => text,
                Err(error) => return Err(BodyError::InvalidUtf8(error.valid_up_to())),
            };
            if form == BodyForm::Any && holds_several_values(text) { splitter.lines(body)? } else { splitter.json(text)? }
        }
    }
    if splitter.count == 0 { Err(BodyError::NoEvents) } else { Ok(splitter.count) }
}

/// Calls `visit` with the one element that `raw` is, whatever is in it: an element that was told apart once is not split again.
pub fn only_element(raw: &[u8], mut visit: impl FnMut(Element<'_>)) {
    let mut splitter = Splitter { tape: Tape::new(), count: 0, visit: &mut visit };
    let visited = splitter.line(raw.trim_ascii());
    debug_assert!(visited.is_ok(), "one is not too many");
}

/// Whether an object is followed by something else, as in one object per line.
fn holds_several_values(text: &str) -> bool {
    let mut parser = Parser::new(text, 0);
    parser.peek() == Some(b'{') && parser.value(&mut Tape::new()).is_ok() && parser.peek().is_some()
}

struct Splitter<'v, V> {
    tape: Tape,
    count: usize,
    visit: &'v mut V,
}

impl<V: FnMut(Element<'_>)> Splitter<'_, V> {
    fn json(&mut self, text: &str) -> Result<(), BodyError> {
        let mut parser = Parser::new(text, EVENT_NODES_MAX);
        match parser.peek() {
            Some(b'[') => self.array(&mut parser, text)?,
            Some(b'{') => match self.events_array(text)? {
                Some(mut inside) => {
                    self.array(&mut inside, text)?;
                    self.rest_of_object(&mut inside)?;
                    parser = inside;
                }
                None => self.element(&mut parser, text)?,
            },
            None => return Err(BodyError::NoEvents),
            Some(_) => {
                parser.value(&mut self.tape).map_err(unreadable)?;
                return Err(BodyError::NotEvents);
            }
        }
        match parser.peek() {
            None => Ok(()),
            found => Err(BodyError::Unreadable(parser.unexpected(found), " (one object per line needs application/x-ndjson)")),
        }
    }

    /// Where the object is a wrapper, `{…, "events": [`, a parser that stands before the bracket. An object that names a
    /// field every event has is an event, whatever else it holds.
    fn events_array<'a>(&mut self, text: &'a str) -> Result<Option<Parser<'a>>, BodyError> {
        let mut parser = Parser::new(text, EVENT_NODES_MAX);
        parser.expect(b'{').map_err(unreadable)?;
        while parser.peek() == Some(b'"') {
            let name = parser.value(&mut self.tape).map_err(unreadable)?;
            parser.expect(b':').map_err(unreadable)?;
            match name {
                "\"event_uuid\"" | "\"event_name\"" | "\"created_at\"" => return Ok(None),
                "\"events\"" if parser.peek() == Some(b'[') => return Ok(Some(parser)),
                _ => parser.value(&mut self.tape).map_err(unreadable)?,
            };
            if parser.expect(b',').is_err() {
                break;
            }
        }
        Ok(None)
    }

    fn array(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), BodyError> {
        parser.expect(b'[').map_err(unreadable)?;
        if parser.peek() == Some(b']') {
            return parser.expect(b']').map_err(unreadable);
        }
        loop {
            self.element(parser, text)?;
            if parser.peek() == Some(b']') {
                return parser.expect(b']').map_err(unreadable);
            }
            parser.expect(b',').map_err(unreadable)?;
        }
    }

    /// Reads what follows `"events": [...]` in the wrapper; the gateway has no use for it.
    fn rest_of_object(&mut self, parser: &mut Parser<'_>) -> Result<(), BodyError> {
        while parser.peek() == Some(b',') {
            parser.expect(b',').map_err(unreadable)?;
            match parser.peek() {
                Some(b'"') => parser.value(&mut self.tape).map_err(unreadable)?,
                found => return Err(unreadable(parser.unexpected(found))),
            };
            parser.expect(b':').map_err(unreadable)?;
            parser.value(&mut self.tape).map_err(unreadable)?;
        }
        parser.expect(b'}').map_err(unreadable)
    }

    fn element(&mut self, parser: &mut Parser<'_>, text: &str) -> Result<(), BodyError> {
        let raw = parser.value(&mut self.tape).map_err(unreadable)?;
        self.visit(raw.as_bytes(), text, None)
    }

    fn lines(&mut self, body: &[u8]) -> Result<(), BodyError> {
        for line in body.split(|&byte| byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() {
                self.line(line)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), BodyError> {
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
        parser.value(&mut self.tape).map_err(|error| format!("the line is not valid JSON: {error}"))?;
        match parser.peek() {
            None => Ok(()),
            Some(_) => Err(format!("the line holds more than one value: the second begins at byte {}", parser.position())),
        }
    }

    fn visit(&mut self, raw: &[u8], text: &str, rejection: Option<Rejection>) -> Result<(), BodyError> {
        if self.count == EVENTS_PER_REQUEST_MAX {
            return Err(BodyError::TooManyEvents);
        }
        self.count += 1;
        let event = match rejection {
            Some(rejection) => Err(rejection),
            None => check(raw, &self.tape, text).map(|()| self.tape.root(text)),
        };
        (self.visit)(Element { raw, event });
        Ok(())
    }
}

/// What every event must be before anyone looks at its fields.
fn check(raw: &[u8], tape: &Tape, text: &str) -> Result<(), Rejection> {
    let reject = |code, detail: String| Err(Rejection::new(code, detail, ""));
    if raw.len() > EVENT_BYTES_MAX || tape.is_overflown() {
        let detail = format!("the event has {} bytes; at most {EVENT_BYTES_MAX} are allowed", raw.len());
        return reject(RejectCode::EventTooLarge, detail);
    }
    let event = tape.root(text);
    if event.kind() != Kind::Object {
        return reject(RejectCode::NotAnObject, format!("expected a JSON object, got {}", kind_shown(&event)));
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
        })?;
        assert_eq!(count, elements.len());
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
        assert_eq!(json(b"\"text\""), BodyError::NotEvents);
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
