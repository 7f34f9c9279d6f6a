//! The tape: one JSON value as a flat list of nodes in document order.

use std::borrow::Cow;

use super::unescape::unescape;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, in the client's own digits.
    Number,
    /// A string or a member's name.
    String,
    /// An array.
    Array,
    /// An object: names and values take turns.
    Object,
}

/// One value, or one member's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapeNode {
    pub(super) kind: Kind,
    /// A string that holds at least one backslash.
    pub(super) escaped: bool,
    /// Bytes of the value in the text, quotes and brackets included.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the node after this value and all it holds.
    pub(super) next: u32,
    /// Elements of an array, members of an object.
    pub(super) count: u32,
}

/// Nodes that a tape has room for from the start: those of an event with fifty members.
const NODES_USUAL: usize = 128;

/// One parsed value. Reused from event to event: it allocates only until it has met the largest one.
#[derive(Debug, Default)]
pub struct Tape {
    pub(super) nodes: Vec<TapeNode>,
    pub(super) depth: usize,
    pub(super) lone_surrogate: bool,
    /// More nodes than the parser was told to keep: the tape is not usable, only the extent of the value is known.
    pub(super) overflow: bool,
}

impl Tape {
    /// An empty tape.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: Vec::with_capacity(NODES_USUAL), ..Self::default() }
    }

    /// Deepest level of nesting; 0 for a scalar.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether some string holds half of a surrogate pair (`"\ud800"`): JSON by its grammar, but no Unicode text.
    #[must_use]
    pub fn has_lone_surrogate(&self) -> bool {
        self.lone_surrogate
    }

    /// Whether the value had more nodes than were to be kept.
    #[must_use]
    pub fn is_overflown(&self) -> bool {
        self.overflow
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.depth = 0;
        self.lone_surrogate = false;
        self.overflow = false;
    }

    /// A string's or a name's characters.
    pub(super) fn string<'a>(&self, text: &'a str, index: u32) -> Cow<'a, str> {
        let node = &self.nodes[index as usize];
        let inner = &text[node.start as usize + 1..node.end as usize - 1];
        if node.escaped { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) }
    }
}
