//! `event_name`: parts separated by `:`, such as `payment:order:completed`.

use crate::limits::{EVENT_NAME_BYTES_MAX, EVENT_NAME_PARTS_MAX};

/// A well-formed event name. The first part is the `event_type`; the second, if present, is the `event_subtype`.
///
/// Parts have only ASCII letters, digits, `_` and `-`, because they become folders of the lake and of the schema registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName<'a>(&'a str);

/// Why a string is not an event name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventNameError {
    /// Longer than [`EVENT_NAME_BYTES_MAX`].
    #[error("is {0} bytes long; at most {EVENT_NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// More than [`EVENT_NAME_PARTS_MAX`] parts.
    #[error("has more than {EVENT_NAME_PARTS_MAX} parts")]
    TooManyParts,
    /// An empty part, or a character outside `A-Z a-z 0-9 _ -`.
    #[error("must be parts of letters, digits, `_` or `-`, separated by `:`, such as `payment:order:completed`")]
    Malformed,
}

/// Whether a byte may be in a part: a table, because every name is checked when it is received, and again when it is delivered.
const IS_OF_PART: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' || byte as u8 == b'-';
        byte += 1;
    }
    table
};

impl<'a> EventName<'a> {
    /// Checks `name`.
    ///
    /// # Errors
    /// See [`EventNameError`].
    pub fn parse(name: &'a str) -> Result<Self, EventNameError> {
        if name.len() > EVENT_NAME_BYTES_MAX {
            return Err(EventNameError::TooLong(name.len()));
        }
        let (mut parts, mut part_bytes) = (1, 0);
        for byte in name.bytes() {
            if IS_OF_PART[byte as usize] {
                part_bytes += 1;
            } else if byte == b':' && part_bytes > 0 {
                (parts, part_bytes) = (parts + 1, 0);
            } else {
                return Err(EventNameError::Malformed);
            }
        }
        match part_bytes {
            0 => Err(EventNameError::Malformed),
            _ if parts > EVENT_NAME_PARTS_MAX => Err(EventNameError::TooManyParts),
            _ => Ok(Self(name)),
        }
    }

    /// A name that was parsed before.
    pub(crate) fn of_checked(name: &'a str) -> Self {
        debug_assert!(Self::parse(name).is_ok());
        Self(name)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The first part.
    #[must_use]
    pub fn event_type(&self) -> &'a str {
        self.type_and_subtype().0
    }

    /// The second part, if present.
    #[must_use]
    pub fn event_subtype(&self) -> Option<&'a str> {
        self.type_and_subtype().1
    }

    /// The first two parts, in one pass.
    #[must_use]
    pub fn type_and_subtype(&self) -> (&'a str, Option<&'a str>) {
        let (first, rest) = cut(self.0);
        (first, rest.map(|rest| cut(rest).0))
    }
}

/// Splits at the first `:`. A simple loop is used because names are short, and a search for long texts costs more.
fn cut(text: &str) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == b':') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_subtype_are_the_first_two_parts() {
        let name = EventName::parse("payment:order:completed").unwrap();
        assert_eq!((name.event_type(), name.event_subtype()), ("payment", Some("order")));
        let single = EventName::parse("heartbeat").unwrap();
        assert_eq!((single.event_type(), single.event_subtype()), ("heartbeat", None));
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ":", "a:", ":a", "a::b", "..", "a:../b", "a/b", "a b", "é", "a\n", "a.b", "a:\0"] {
            assert_eq!(EventName::parse(bad), Err(EventNameError::Malformed), "{bad:?}");
        }
        assert_eq!(EventName::parse(&"a".repeat(201)), Err(EventNameError::TooLong(201)));
        assert_eq!(EventName::parse("a:b:c:d:e:f:g:h:i"), Err(EventNameError::TooManyParts));
    }
}
