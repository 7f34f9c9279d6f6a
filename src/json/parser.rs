//! The parser. It is iterative, so that nesting uses no stack. It writes the tape and copies nothing.

use super::tape::{Kind, Tape, TapeNode};
use crate::limits::BODY_DEPTH_MAX;

/// An error in a text, with its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Byte offset in the text where the error was noticed.
    pub offset: usize,
}

/// The reasons why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    #[error("unexpected end of the text")]
    UnexpectedEnd,
    /// A byte that is not allowed at this position.
    #[error("unexpected character")]
    UnexpectedCharacter,
    /// A malformed number: `01`, `1.`, `+1`, `NaN`.
    #[error("malformed number")]
    MalformedNumber,
    /// A malformed escape.
    #[error("malformed escape")]
    MalformedEscape,
    /// A raw control character inside a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// Nested deeper than [`BODY_DEPTH_MAX`].
    #[error("nested deeper than {BODY_DEPTH_MAX} levels")]
    TooDeep,
}

/// Reads one JSON value after another from a text of less than 4 GiB.
#[derive(Debug)]
pub struct Parser<'a> {
    text: &'a str,
    position: usize,
    nodes_max: usize,
    /// The open containers: the index of their node, or [`NOT_KEPT`], and their count so far.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    node: u32,
    count: u32,
    is_object: bool,
}

const NOT_KEPT: u32 = u32::MAX;

impl<'a> Parser<'a> {
    /// Starts at the beginning of `text`. A value with more than `nodes_max` nodes is parsed to its end, but not kept.
    #[must_use]
    pub fn new(text: &'a str, nodes_max: usize) -> Self {
        debug_assert!(u32::try_from(text.len()).is_ok());
        Self { text, position: 0, nodes_max, open: Vec::new() }
    }

    /// Byte offset of the next byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next byte after white space, without consuming it; `None` at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.position) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.position += 1;
        }
        None
    }

    /// Consumes `expected` after white space.
    ///
    /// # Errors
    /// Any other byte follows.
    pub fn expect(&mut self, expected: u8) -> Result<(), JsonError> {
        match self.peek() {
            Some(byte) if byte == expected => {
                self.position += 1;
                Ok(())
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// The error for an unexpected byte `found`.
    #[must_use]
    pub fn unexpected(&self, found: Option<u8>) -> JsonError {
        self.error(if found.is_none() { JsonErrorKind::UnexpectedEnd } else { JsonErrorKind::UnexpectedCharacter })
    }

    /// Reads one value into `tape` and returns its text.
    ///
    /// # Errors
    /// [`JsonError`]: the tape is then unusable.
    pub fn value(&mut self, tape: &mut Tape) -> Result<&'a str, JsonError> {
        tape.clear();
        self.open.clear();
        self.peek();
        let start = self.position;
        loop {
            let opened = self.one(tape)?;
            if self.step(opened, tape)? {
                return Ok(&self.text[start..self.position]);
            }
        }
    }

    /// Reads a whole scalar, or the opening bracket of a container. Returns true for a bracket.
    fn one(&mut self, tape: &mut Tape) -> Result<bool, JsonError> {
        let start = match self.peek() {
            Some(_) => self.position,
            None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
        };
        let mut escaped = false;
        let kind = match self.text.as_bytes()[start] {
            b'{' => return self.open_container(tape, Kind::Object),
            b'[' => return self.open_container(tape, Kind::Array),
            b'"' => {
                escaped = self.string(tape)?;
                Kind::String
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Kind::Number
            }
            b't' => self.literal("true", Kind::Boolean)?,
            b'f' => self.literal("false", Kind::Boolean)?,
            b'n' => self.literal("null", Kind::Null)?,
            b'N' | b'I' | b'+' | b'.' => return Err(self.error(JsonErrorKind::MalformedNumber)),
            _ => return Err(self.error(JsonErrorKind::UnexpectedCharacter)),
        };
        self.keep(tape, kind, start, escaped);
        Ok(false)
    }

    fn open_container(&mut self, tape: &mut Tape, kind: Kind) -> Result<bool, JsonError> {
        if self.open.len() == BODY_DEPTH_MAX {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        let start = self.position;
        self.position += 1;
        let node = self.keep(tape, kind, start, false);
        self.open.push(Open { node, count: 0, is_object: kind == Kind::Object });
        tape.depth = tape.depth.max(self.open.len());
        Ok(true)
    }

    /// After a value or an opening bracket: closes complete containers and moves to the next value. Returns true when the
    /// outermost value is complete.
    fn step(&mut self, mut opened: bool, tape: &mut Tape) -> Result<bool, JsonError> {
        while let Some(open) = self.open.last_mut() {
            let is_object = open.is_object;
            let closing = if is_object { b'}' } else { b']' };
            open.count += u32::from(!opened);
            match self.peek() {
                Some(byte) if byte == closing => {
                    self.position += 1;
                    self.close(tape);
                    opened = false;
                }
                Some(b',') if !opened => {
                    self.position += 1;
                    return self.name_if(is_object, tape).map(|()| false);
                }
                Some(_) if opened => return self.name_if(is_object, tape).map(|()| false),
                other => return Err(self.unexpected(other)),
            }
        }
        Ok(true)
    }

    fn name_if(&mut self, is_object: bool, tape: &mut Tape) -> Result<(), JsonError> {
        if !is_object {
            return Ok(());
        }
        match self.peek() {
            Some(b'"') => {
                let start = self.position;
                let escaped = self.string(tape)?;
                self.keep(tape, Kind::String, start, escaped);
                self.expect(b':')
            }
            other => Err(self.unexpected(other)),
        }
    }

    fn close(&mut self, tape: &mut Tape) {
        let next = tape.nodes.len() as u32;
        let Some(open) = self.open.pop() else { return };
        if let Some(node) = tape.nodes.get_mut(open.node as usize) {
            node.end = self.position as u32;
            node.next = next;
            node.count = open.count;
        }
    }

    fn keep(&self, tape: &mut Tape, kind: Kind, start: usize, escaped: bool) -> u32 {
        let index = tape.nodes.len();
        if index >= self.nodes_max {
            tape.overflow = true;
            return NOT_KEPT;
        }
        let next = index as u32 + 1;
        tape.nodes.push(TapeNode { kind, escaped, start: start as u32, end: self.position as u32, next, count: 0 });
        index as u32
    }

    /// Consumes a string including its quotes. Returns true if it has escapes.
    pub(super) fn string(&mut self, tape: &mut Tape) -> Result<bool, JsonError> {
        let bytes = self.text.as_bytes();
        self.position += 1;
        let mut escaped = false;
        loop {
            self.position += plain_prefix(&bytes[self.position..]);
            match bytes.get(self.position) {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape(tape)?;
                }
                Some(_) => return Err(self.error(JsonErrorKind::ControlCharacter)),
                None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
            }
        }
    }

    fn escape(&mut self, tape: &mut Tape) -> Result<(), JsonError> {
        match self.text.as_bytes().get(self.position + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.position += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit_at(self.position)?;
                self.position += 6;
                match unit {
                    0xD800..0xDC00 => match self.unit_at(self.position) {
                        Ok(0xDC00..0xE000) => self.position += 6,
                        // Do not consume the second escape, because the next round reads it.
                        _ => tape.lone_surrogate = true,
                    },
                    0xDC00..0xE000 => tape.lone_surrogate = true,
                    _ => {}
                }
                Ok(())
            }
            Some(_) => Err(self.error(JsonErrorKind::MalformedEscape)),
            None => Err(self.error(JsonErrorKind::UnexpectedEnd)),
        }
    }

    /// The UTF-16 unit of the `\uXXXX` at `at`.
    fn unit_at(&self, at: usize) -> Result<u16, JsonError> {
        let malformed = JsonError { kind: JsonErrorKind::MalformedEscape, offset: at };
        let escape = self.text.as_bytes().get(at..at + 6).filter(|escape| escape.starts_with(b"\\u")).ok_or(malformed)?;
        escape[2..].iter().try_fold(0u16, |unit, &digit| {
            let value = (digit as char).to_digit(16).ok_or(malformed)?;
            Ok(unit << 4 | value as u16)
        })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.text.as_bytes()[self.position] == b'-' {
            self.position += 1;
        }
        let leading_zero = self.text.as_bytes().get(self.position) == Some(&b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(self.error(JsonErrorKind::MalformedNumber));
        }
        if self.text.as_bytes().get(self.position) == Some(&b'.') {
            self.position += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.position) {
            self.position += 1;
            if let Some(b'+' | b'-') = self.text.as_bytes().get(self.position) {
                self.position += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Consumes one or more digits and returns their number.
    fn digits(&mut self) -> Result<usize, JsonError> {
        let rest = &self.text.as_bytes()[self.position..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.position += count;
        if count == 0 {
            let at_end = self.position == self.text.len();
            return Err(self.error(if at_end { JsonErrorKind::UnexpectedEnd } else { JsonErrorKind::MalformedNumber }));
        }
        Ok(count)
    }

    fn literal(&mut self, literal: &'static str, kind: Kind) -> Result<Kind, JsonError> {
        if self.text.as_bytes()[self.position..].starts_with(literal.as_bytes()) {
            self.position += literal.len();
            return Ok(kind);
        }
        Err(self.error(JsonErrorKind::UnexpectedCharacter))
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, offset: self.position }
    }
}

/// The number of bytes at the start of `bytes` without a quote, backslash or control character; checks eight bytes at a time.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = control | has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            // The lowest mark is exact; only marks above a true mark can be false.
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count()
}
