//! How a gateway is asked to stop.

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A supervisor's: requests are served for `stop.lame_duck_seconds` first.
    Gracefully,
    /// A person's, who waits.
    Soon,
}
