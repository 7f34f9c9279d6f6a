//! The position of one sink.

/// Name of a sink in the cursor's file; empty for the only sink.
pub type CursorName = Box<str>;

/// Position up to which a sink has the events of the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Everything below this sequence number is delivered and never needed again.
    pub delivered_exclusive: u64,
    /// End of the range whose delivery had begun. After a crash the same range, from `delivered_exclusive` to here, must be
    /// delivered again, because a sink may have named its output after the range.
    pub planned_end_exclusive: Option<u64>,
}
