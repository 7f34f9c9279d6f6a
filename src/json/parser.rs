//! The parser. It is iterative, so that nesting uses no stack. It writes the tape and copies nothing.

use std::ops::Range;

use super::tape::{Kind, Open, Tape, TapeNode};
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
}

const NOT_KEPT: u32 = u32::MAX;

/// What is next in a container.
enum Next {
    Name,
    Value,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of `text`. A value with more than `nodes_max` nodes is parsed to its end, but not kept.
    #[must_use]
    pub fn new(text: &'a str, nodes_max: usize) -> Self {
        debug_assert!(u32::try_from(text.len()).is_ok());
        Self { text, position: 0, nodes_max }
    }

    /// Byte offset of the next byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next byte after white space, without consuming it; `None` at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        self.position = space_end(self.text.as_bytes(), self.position);
        self.text.as_bytes().get(self.position).copied()
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
        unexpected(found, self.position)
    }

    /// Reads one value into `tape` and returns its text.
    ///
    /// # Errors
    /// [`JsonError`]: the tape is then unusable.
    pub fn value(&mut self, tape: &mut Tape) -> Result<&'a str, JsonError> {
        tape.clear();
        let bytes = self.text.as_bytes();
        let start = space_end(bytes, self.position);
        // In a local variable, which the compiler keeps in a register.
        let mut at = start;
        loop {
            at = match bytes.get(at).copied() {
                Some(b'"') => self.string(at, tape)?,
                Some(b'-' | b'0'..=b'9') => self.scalar(Kind::Number, at, number_end(bytes, at)?, tape),
                Some(b't') => self.scalar(Kind::Boolean, at, literal_end(bytes, at, b"true")?, tape),
                Some(b'f') => self.scalar(Kind::Boolean, at, literal_end(bytes, at, b"false")?, tape),
                Some(b'n') => self.scalar(Kind::Null, at, literal_end(bytes, at, b"null")?, tape),
                Some(b'{') => self.container(Kind::Object, b'}', at, tape)?,
                Some(b'[') => self.container(Kind::Array, b']', at, tape)?,
                Some(b'N' | b'I' | b'+' | b'.') => return Err(error(JsonErrorKind::MalformedNumber, at)),
                other => return Err(unexpected(other, at)),
            };
            match self.next(&mut at, tape)? {
                Some(Next::Name) => at = self.name(at, tape)?,
                Some(Next::Value) => {}
                None => {
                    self.position = at;
                    return Ok(&self.text[start..at]);
                }
            }
        }
    }

    /// Reads the opening bracket at `start`, or the whole container if it is empty. Returns where the next thing begins.
    fn container(&self, kind: Kind, closing: u8, start: usize, tape: &mut Tape) -> Result<usize, JsonError> {
        if tape.open.len() == BODY_DEPTH_MAX {
            return Err(error(JsonErrorKind::TooDeep, start));
        }
        tape.depth = tape.depth.max(tape.open.len() + 1);
        let inside = space_end(self.text.as_bytes(), start + 1);
        if self.text.as_bytes().get(inside) == Some(&closing) {
            return Ok(self.scalar(kind, start, inside + 1, tape));
        }
        let node = self.keep(tape, kind, start..inside, false);
        tape.open.push(Open { node, count: 0, closing, has_begun: false });
        Ok(inside)
    }

    /// After a value, or an opening bracket, that ends at `at`: closes complete containers, and moves to the next value, or to the
    /// name before it. Returns what is next; `None` if the outermost value is complete.
    // Inlined, as what it calls: then the position stays in a register, which makes the parser a quarter faster.
    #[inline(always)]
    fn next(&self, at: &mut usize, tape: &mut Tape) -> Result<Option<Next>, JsonError> {
        let bytes = self.text.as_bytes();
        while let Some(open) = tape.open.last_mut() {
            let next = if open.closing == b'}' { Next::Name } else { Next::Value };
            if !open.has_begun {
                open.has_begun = true;
                return Ok(Some(next));
            }
            open.count += 1;
            *at = space_end(bytes, *at);
            match bytes.get(*at).copied() {
                Some(b',') => {
                    *at = space_end(bytes, *at + 1);
                    return Ok(Some(next));
                }
                Some(byte) if byte == open.closing => {
                    *at += 1;
                    let next = tape.nodes.len() as u32;
                    if let Some(node) = tape.nodes.get_mut(open.node as usize) {
                        (node.end, node.next, node.count) = (*at as u32, next, open.count);
                    }
                    tape.open.pop();
                }
                other => return Err(unexpected(other, *at)),
            }
        }
        Ok(None)
    }

    /// Reads the name of a member and the colon after it. Returns where its value begins.
    #[inline(always)]
    fn name(&self, start: usize, tape: &mut Tape) -> Result<usize, JsonError> {
        let bytes = self.text.as_bytes();
        match bytes.get(start).copied() {
            Some(b'"') => {}
            other => return Err(unexpected(other, start)),
        }
        let colon = space_end(bytes, self.string(start, tape)?);
        match bytes.get(colon).copied() {
            Some(b':') => Ok(space_end(bytes, colon + 1)),
            other => Err(unexpected(other, colon)),
        }
    }

    /// Reads the string whose quote is at `start`. Returns its end.
    #[inline(always)]
    fn string(&self, start: usize, tape: &mut Tape) -> Result<usize, JsonError> {
        let bytes = self.text.as_bytes();
        let plain = plain_end(bytes, start + 1);
        if bytes.get(plain) == Some(&b'"') {
            return Ok(self.scalar(Kind::String, start, plain + 1, tape));
        }
        let end = rest_of_string(bytes, plain, tape)?;
        self.keep(tape, Kind::String, start..end, true);
        Ok(end)
    }

    /// Keeps a value without parts, and returns its end.
    #[inline]
    fn scalar(&self, kind: Kind, start: usize, end: usize, tape: &mut Tape) -> usize {
        self.keep(tape, kind, start..end, false);
        end
    }

    #[inline]
    fn keep(&self, tape: &mut Tape, kind: Kind, place: Range<usize>, escaped: bool) -> u32 {
        let index = tape.nodes.len();
        if index >= self.nodes_max {
            tape.overflow = true;
            return NOT_KEPT;
        }
        let (start, end, next) = (place.start as u32, place.end as u32, index as u32 + 1);
        tape.nodes.push(TapeNode { kind, escaped, start, end, next, count: 0 });
        index as u32
    }
}

/// The end of the white space at `at`.
#[inline]
fn space_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of a string, from the first byte that is not plain on.
#[inline(never)]
fn rest_of_string(bytes: &[u8], mut at: usize, tape: &mut Tape) -> Result<usize, JsonError> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = plain_end(bytes, escape_end(bytes, at, tape)?),
            Some(_) => return Err(error(JsonErrorKind::ControlCharacter, at)),
            None => return Err(error(JsonErrorKind::UnexpectedEnd, at)),
        }
    }
}

/// The end of the escape whose backslash is at `at`.
fn escape_end(bytes: &[u8], at: usize, tape: &mut Tape) -> Result<usize, JsonError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let end = at + 6;
            match unit_at(bytes, at)? {
                0xD800..0xDC00 => match unit_at(bytes, end) {
                    Ok(0xDC00..0xE000) => return Ok(end + 6),
                    // Do not consume the second escape, because the next round reads it.
                    _ => tape.lone_surrogate = true,
                },
                0xDC00..0xE000 => tape.lone_surrogate = true,
                _ => {}
            }
            Ok(end)
        }
        Some(_) => Err(error(JsonErrorKind::MalformedEscape, at)),
        None => Err(error(JsonErrorKind::UnexpectedEnd, at)),
    }
}

/// The UTF-16 unit of the `\uXXXX` at `at`.
fn unit_at(bytes: &[u8], at: usize) -> Result<u16, JsonError> {
    let malformed = error(JsonErrorKind::MalformedEscape, at);
    let escape = bytes.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u")).ok_or(malformed)?;
    escape[2..].iter().try_fold(0u16, |unit, &digit| {
        let value = (digit as char).to_digit(16).ok_or(malformed)?;
        Ok(unit << 4 | value as u16)
    })
}

/// The end of the number at `start`.
fn number_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let whole = start + usize::from(bytes[start] == b'-');
    let mut at = digits_end(bytes, whole)?;
    if bytes[whole] == b'0' && at > whole + 1 {
        return Err(error(JsonErrorKind::MalformedNumber, at));
    }
    if bytes.get(at) == Some(&b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits_end(bytes, at)?;
    }
    Ok(at)
}

/// The end of one or more digits.
#[inline]
fn digits_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at > start {
        return Ok(at);
    }
    Err(error(if at == bytes.len() { JsonErrorKind::UnexpectedEnd } else { JsonErrorKind::MalformedNumber }, at))
}

#[inline]
fn literal_end(bytes: &[u8], at: usize, literal: &'static [u8]) -> Result<usize, JsonError> {
    if bytes[at..].starts_with(literal) { Ok(at + literal.len()) } else { Err(error(JsonErrorKind::UnexpectedCharacter, at)) }
}

#[cold]
fn unexpected(found: Option<u8>, offset: usize) -> JsonError {
    error(if found.is_none() { JsonErrorKind::UnexpectedEnd } else { JsonErrorKind::UnexpectedCharacter }, offset)
}

fn error(kind: JsonErrorKind, offset: usize) -> JsonError {
    JsonError { kind, offset }
}

/// Whether `text` is the same in a JSON string.
#[must_use]
pub fn needs_no_escapes(text: &str) -> bool {
    plain_end(text.as_bytes(), 0) == text.len()
}

/// Where, from `at` on, the first quote, backslash or control character is, or else the end. Looks at eight bytes at a time.
#[inline(always)]
fn plain_end(bytes: &[u8], at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        // Each difference has the high bit of a byte where that byte is below 0x20, or is zero: a quote, a backslash. Bytes beyond
        // ASCII have it anyway, and are none of these.
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let special = (control | quote | backslash) & !word & HIGHS;
        if special != 0 {
            // The lowest mark is exact; only marks above a true mark can be false.
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let plain = rest.iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count();
    bytes.len() - rest.len() + plain
}
