//! The tape: one JSON value as a flat list of nodes in document order.

use std::{borrow::Cow, cell::Cell};

use super::unescape::unescape;

/// The type of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, with the client's own digits.
    Number,
    /// A string, or the name of a member.
    String,
    /// An array.
    Array,
    /// An object: names and values alternate.
    Object,
}

/// A value, or the name of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapeNode {
    pub(super) kind: Kind,
    /// Whether the string has at least one backslash.
    pub(super) escaped: bool,
    /// Bytes of the value in the text, quotes and brackets included.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the node after this value and everything in it.
    pub(super) next: u32,
    /// The number of elements of an array, or of members of an object.
    pub(super) count: u32,
}

/// A container whose end is not read yet.
#[derive(Debug)]
pub(super) struct Open {
    /// The index of its node, if that is kept.
    pub(super) node: u32,
    /// The values read so far.
    pub(super) count: u32,
    pub(super) closing: u8,
    /// Whether its first value has begun.
    pub(super) has_begun: bool,
}

/// Initial capacity in nodes: enough for an event with fifty members.
const NODES_USUAL: usize = 128;

/// Capacity up to which a tape is kept for the next event: 20 KB for each thread that validates.
const NODES_KEPT: usize = 8 * NODES_USUAL;

thread_local! {
    static KEPT: Cell<Tape> = Cell::default();
}

/// One parsed value. Reused for all events, so it allocates only until it has held the largest event.
#[derive(Debug, Default)]
pub struct Tape {
    pub(super) nodes: Vec<TapeNode>,
    /// While it is written: the containers that are open, none of which is empty.
    pub(super) open: Vec<Open>,
    pub(super) depth: usize,
    pub(super) lone_surrogate: bool,
    /// The value had more nodes than the parser may keep: the tape is unusable, only the extent of the value is known.
    pub(super) overflow: bool,
}

impl Tape {
    /// An empty tape.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: Vec::with_capacity(NODES_USUAL), ..Self::default() }
    }

    /// The tape that this thread kept for its next body, or an empty one.
    #[must_use]
    pub fn kept() -> Self {
        KEPT.take()
    }

    /// Keeps the memory for the next body of this thread, unless it is more than usual events need.
    pub fn keep(self) {
        if self.nodes.capacity() <= NODES_KEPT {
            KEPT.set(self);
        }
    }

    /// The deepest nesting level; 0 for a scalar.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether a string holds half of a surrogate pair (`"\ud800"`), which is valid JSON grammar but not valid Unicode.
    #[must_use]
    pub fn has_lone_surrogate(&self) -> bool {
        self.lone_surrogate
    }

    /// Whether the value had more nodes than the parser may keep.
    #[must_use]
    pub fn is_overflown(&self) -> bool {
        self.overflow
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.open.clear();
        self.depth = 0;
        self.lone_surrogate = false;
        self.overflow = false;
    }

    /// The characters of a string or name.
    pub(super) fn string<'a>(&self, text: &'a str, index: u32) -> Cow<'a, str> {
        let node = &self.nodes[index as usize];
        let inner = &text[node.start as usize + 1..node.end as usize - 1];
        if node.escaped { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) }
    }
}
