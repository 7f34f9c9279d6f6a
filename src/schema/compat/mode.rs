//! Compatibility modes, in the usual terms: which versions are compared, and in which direction.

use std::{fmt, str::FromStr};

/// The compatibility of a version with earlier versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The version accepts all events that the previous version accepts: producers with the old version can update later.
    #[default]
    Backward,
    /// The previous version accepts all events that this version accepts: consumers with the old version can read all events.
    Forward,
    /// Both.
    Full,
    /// [`Mode::Backward`] with every earlier version.
    BackwardTransitive,
    /// [`Mode::Forward`] with every earlier version.
    ForwardTransitive,
    /// [`Mode::Full`] with every earlier version.
    FullTransitive,
    /// No requirement.
    None,
}

/// Which version must accept the events of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The newer accepts every event that the older accepts.
    Backward,
    /// The older accepts every event that the newer accepts.
    Forward,
}

/// One comparison that a mode requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The older version.
    pub older: u32,
    /// The newer version.
    pub newer: u32,
    /// The direction of the comparison.
    pub direction: Direction,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 7] = [
        Self::Backward,
        Self::Forward,
        Self::Full,
        Self::BackwardTransitive,
        Self::ForwardTransitive,
        Self::FullTransitive,
        Self::None,
    ];

    /// The name in `registry.toml`.
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

    /// The directions that the mode compares.
    #[must_use]
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Self::Backward | Self::BackwardTransitive => &[Direction::Backward],
            Self::Forward | Self::ForwardTransitive => &[Direction::Forward],
            Self::Full | Self::FullTransitive => &[Direction::Backward, Direction::Forward],
            Self::None => &[],
        }
    }

    /// Whether a version is compared with all earlier versions, not only with the previous one.
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// The comparisons for these versions, which ascend. A version for which `is_fresh_start` is true is not compared with
    /// earlier versions, and later versions are not compared with versions before it.
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
    /// The version whose events are used.
    #[must_use]
    pub fn from(self) -> u32 {
        match self.direction {
            Direction::Backward => self.older,
            Direction::Forward => self.newer,
        }
    }

    /// The version that must accept them.
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
