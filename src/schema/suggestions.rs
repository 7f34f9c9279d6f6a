//! Suggests names similar to a wrong name, and limits the searches of one body.

use crate::limits::{
    FAULTS_EXPLAINED_PER_BODY, FIELD_SUGGESTIONS_PER_BODY, SUGGESTION_BYTES_MAX, SUGGESTION_CANDIDATES_MAX, SUGGESTIONS_PER_BODY,
};

/// The remaining full explanations and name searches of a body: a body with only faults must not be slow.
#[derive(Clone, Copy, Debug)]
pub struct Suggestions {
    names_left: usize,
    fields_left: usize,
    faults_left: usize,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { names_left: SUGGESTIONS_PER_BODY, fields_left: FIELD_SUGGESTIONS_PER_BODY, faults_left: FAULTS_EXPLAINED_PER_BODY }
    }
}

impl Suggestions {
    /// No limit: every fault is explained.
    #[must_use]
    pub fn with_every_fault() -> Self {
        Self { faults_left: usize::MAX, ..Self::default() }
    }

    /// No full explanations, and no searches.
    pub(super) fn none() -> Self {
        Self { names_left: 0, fields_left: 0, faults_left: 0 }
    }

    /// Whether any fault may still be explained in full.
    pub(super) fn are_faults_left(&self) -> bool {
        self.faults_left > 0
    }

    /// Whether an event with `faults` faults may still be explained in full; takes them from the limit.
    pub fn take_explained(&mut self, faults: usize) -> bool {
        let is_left = self.faults_left > 0;
        self.faults_left = self.faults_left.saturating_sub(faults);
        is_left
    }

    /// Whether another event name may be searched; takes one from the limit.
    pub fn take_name(&mut self) -> bool {
        take(&mut self.names_left)
    }

    /// Whether another field or value may be searched; takes nothing from the limit.
    pub(super) fn are_fields_left(&self) -> bool {
        self.fields_left > 0
    }

    /// Whether another field or value may be searched; takes one from the limit.
    pub(super) fn take_field(&mut self) -> bool {
        take(&mut self.fields_left)
    }
}

fn take(left: &mut usize) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

/// Similarity from which a name is worth suggesting; 1.0 is equality.
/// `menu:item:view` for `menu:item:viewed` has 0.98, a different event of the same type below 0.9.
const NEAREST_SIMILARITY_MIN: f64 = 0.85;

/// The name in `known` most similar to `name`, if any is similar enough. A comparison takes time in proportion to both lengths,
/// so long names are skipped. A name four times as long as the other is skipped too, because it never reaches 0.85. Only the
/// first [`SUGGESTION_CANDIDATES_MAX`] candidates are compared.
pub(super) fn most_like<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > SUGGESTION_BYTES_MAX {
        return None;
    }
    let chars = name.chars().count();
    let is_near = |known: &&str| {
        known.len() <= SUGGESTION_BYTES_MAX && (chars.div_ceil(4)..=chars.saturating_mul(4)).contains(&known.chars().count())
    };
    let similar = known.take(SUGGESTION_CANDIDATES_MAX).filter(is_near).map(|known| (strsim::jaro_winkler(known, name), known));
    let nearest = similar.filter(|(similarity, _)| *similarity >= NEAREST_SIMILARITY_MIN);
    nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}
