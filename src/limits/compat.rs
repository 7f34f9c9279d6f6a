//! Limits of how versions of a schema are compared.

use super::{EVENT_BYTES_MAX, units::MIB};

/// Bytes of the automaton that a pattern becomes when it is compared with another.
/// Why: a length of some thousand characters fits; one that takes more is compared as text, and by events.
pub const COMPAT_AUTOMATON_BYTES_MAX: usize = 4 * MIB;

/// States that are visited in search of a string that tells patterns apart.
/// Why: the patterns of event schemas need some hundreds; this many take a second without optimisation.
pub const COMPAT_SEARCH_STATES_MAX: usize = 100_000;

/// Levels of a schema down to which values are made for it.
/// Why: an event of more levels than this is no event that people write schemas for.
pub const COMPAT_DEPTH_MAX: usize = 10;

/// Values that are made for one node of a schema.
/// Why: bounds, one within, one beside each; objects take the product of none of them but the sum of all.
pub const COMPAT_VALUES_MAX: usize = 96;

/// Nodes of one comparison for which values are made.
/// Why: a difference has a branch for each member that changed, each with all members; a hundred times a hundred.
pub const COMPAT_NODES_MAX: usize = 10_000;

/// Events that are tried in one comparison.
/// Why: a second without optimisation; what thousands of events made for the purpose do not show is said to be undecided.
pub const COMPAT_EVENTS_TRIED_MAX: usize = 20_000;

/// Events that are tried although there is a proof.
/// Why: the algebra is young; some hundred events cost milliseconds, and one that contradicts it outranks it.
pub const COMPAT_DOUBTS_MAX: usize = 300;

/// Characters of a string that is made for a schema.
/// Why: it must fit an event; a length beyond is no difference that an event can show.
pub const COMPAT_STRING_CHARS_MAX: usize = EVENT_BYTES_MAX / 2;

/// Elements of an array that is made for a schema.
/// Why: as many as the larger `maxItems` of event schemas; more are no event that anyone would read.
pub const COMPAT_ITEMS_MAX: usize = 1_100;
