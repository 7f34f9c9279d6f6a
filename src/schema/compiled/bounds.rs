//! The bounds of a number.

/// The bounds of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) at_least: Option<f64>,
    pub(super) at_most: Option<f64>,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
}

impl Bounds {
    pub(super) fn accept(&self, number: f64) -> bool {
        self.at_least.is_none_or(|bound| number >= bound)
            && self.at_most.is_none_or(|bound| number <= bound)
            && self.above.is_none_or(|bound| number > bound)
            && self.below.is_none_or(|bound| number < bound)
    }
}
