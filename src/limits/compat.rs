//! Limits of the comparison of schema versions.

use super::{EVENT_BYTES_MAX, units::MIB};

/// Bytes of the automaton that a pattern is compiled to for a comparison with another pattern.
/// Why: a length of some thousand characters fits; a pattern that needs more is compared as text, and by events.
pub const COMPAT_AUTOMATON_BYTES_MAX: usize = 4 * MIB;

/// States visited in the search for a string that distinguishes two patterns.
/// Why: the patterns of event schemas need some hundreds; this many take a second without optimisation.
pub const COMPAT_SEARCH_STATES_MAX: usize = 100_000;

/// Schema levels down to which values are generated.
/// Why: people do not write schemas for events with more levels.
pub const COMPAT_DEPTH_MAX: usize = 10;

/// Values generated for one schema node.
/// Why: bounds, one value within, one beside each; for an object the values of its members are added, not multiplied.
pub const COMPAT_VALUES_MAX: usize = 96;

/// Schema nodes for which one comparison generates values.
/// Why: a difference has a branch for each changed member, each with all members; a hundred times a hundred.
pub const COMPAT_NODES_MAX: usize = 10_000;

/// Events tried in one comparison.
/// Why: takes a second without optimisation; if thousands of generated events show no difference, the result is "undecided".
pub const COMPAT_EVENTS_TRIED_MAX: usize = 20_000;

/// Events tried although there is a proof.
/// Why: the algebra is young; some hundred events cost milliseconds, and an event that contradicts the proof outranks it.
pub const COMPAT_DOUBTS_MAX: usize = 300;

/// Characters of a generated string.
/// Why: the string must fit into an event; no event can show a difference beyond this length.
pub const COMPAT_STRING_CHARS_MAX: usize = EVENT_BYTES_MAX / 2;

/// Elements of a generated array.
/// Why: as many as the larger `maxItems` of event schemas; a person would not read an event with more.
pub const COMPAT_ITEMS_MAX: usize = 1_100;
