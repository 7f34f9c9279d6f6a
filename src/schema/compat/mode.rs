//! Compatibility modes, in the field's terms: which versions are compared, and which way.

use std::{fmt, str::FromStr};

/// What a version owes to those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It accepts what the version before it accepts: who sends by the old one need not hurry.
    #[default]
    Backward,
    /// The version before it accepts what it accepts: who reads by the old one is never surprised.
    Forward,
    /// Both.
    Full,
    /// [`Mode::Backward`] with every earlier version.
    BackwardTransitive,
    /// [`Mode::Forward`] with every earlier version.
    ForwardTransitive,
    /// [`Mode::Full`] with every earlier version.
    FullTransitive,
    /// Nothing.
    None,
}

/// Which version's events the other one has to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The newer accepts every event that the older accepts.
    Backward,
    /// The older accepts every event that the newer accepts.
    Forward,
}

/// One comparison that a mode asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The older version.
    pub older: u32,
    /// The newer version.
    pub newer: u32,
    /// Which way they are compared.
    pub direction: Direction,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Backward,
        Self::Forward,
        Self::Full,
        Self::BackwardTransitive,
        Self::ForwardTransitive,
        Self::FullTransitive,
        Self::None,
    ];

    /// As it is written in `registry.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backward => "BACKWARD",
            Self::Forward => "FORWARD",
            Self::Full => "FULL",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::FullTransitive => "FULL_TRANSITIVE",
            Self::None => "NONE",
        }
    }

    /// Which ways it compares.
    #[must_use]
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Self::Backward | Self::BackwardTransitive => &[Direction::Backward],
            Self::Forward | Self::ForwardTransitive => &[Direction::Forward],
            Self::Full | Self::FullTransitive => &[Direction::Backward, Direction::Forward],
            Self::None => &[],
        }
    }

    /// Whether a version is compared with all before it, and not only with the one before it.
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// What it asks of these versions, which ascend. Of a version for which `is_fresh_start` says so nothing is asked, and of
    /// later ones nothing that reaches behind it.
    #[must_use]
    pub fn demands(self, versions: &[u32], is_fresh_start: &dyn Fn(u32) -> bool) -> Vec<Demand> {
        let mut demands = Vec::new();
        let mut first = 0;
        for (index, &newer) in versions.iter().enumerate() {
            if is_fresh_start(newer) {
                first = index;
            }
            let from = if self.is_transitive() { first } else { first.max(index.saturating_sub(1)) };
            for &older in &versions[from..index] {
                demands.extend(self.directions().iter().map(|&direction| Demand { older, newer, direction }));
            }
        }
        demands
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("found {text:?}; allowed: {all}")
        })
    }
}

impl Demand {
    /// The version whose events are taken.
    #[must_use]
    pub fn from(self) -> u32 {
        match self.direction {
            Direction::Backward => self.older,
            Direction::Forward => self.newer,
        }
    }

    /// The version that has to accept them.
    #[must_use]
    pub fn to(self) -> u32 {
        match self.direction {
            Direction::Backward => self.newer,
            Direction::Forward => self.older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(mode: Mode, versions: &[u32], fresh: u32) -> Vec<(u32, u32)> {
        mode.demands(versions, &|version| version == fresh).into_iter().map(|demand| (demand.from(), demand.to())).collect()
    }

    #[test]
    fn each_mode_compares_what_its_name_says() {
        let none = u32::MAX;
        assert_eq!(demands(Mode::Backward, &[1, 2, 3], none), [(1, 2), (2, 3)]);
        assert_eq!(demands(Mode::Forward, &[1, 2, 3], none), [(2, 1), (3, 2)]);
        assert_eq!(demands(Mode::Full, &[1, 2], none), [(1, 2), (2, 1)]);
        assert_eq!(demands(Mode::BackwardTransitive, &[1, 2, 3], none), [(1, 2), (1, 3), (2, 3)]);
        assert_eq!(demands(Mode::ForwardTransitive, &[1, 2, 3], none), [(2, 1), (3, 1), (3, 2)]);
        assert_eq!(demands(Mode::FullTransitive, &[1, 2, 3], none).len(), 6);
        assert_eq!(demands(Mode::None, &[1, 2, 3], none), []);
        assert_eq!(demands(Mode::Full, &[1], none), []);
    }

    #[test]
    fn nothing_reaches_behind_a_fresh_start() {
        assert_eq!(demands(Mode::BackwardTransitive, &[1, 2, 3, 4], 3), [(1, 2), (3, 4)]);
        assert_eq!(demands(Mode::Backward, &[1, 2, 3], 2), [(2, 3)]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        let error = "backward".parse::<Mode>().unwrap_err();
        assert!(error.contains("\"backward\"") && error.contains("FULL_TRANSITIVE"), "{error}");
    }
}
