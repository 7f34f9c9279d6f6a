//! Decides whether one version of a schema accepts what another accepts: with a proof, or with an event that shows the
//! difference.
//!
//! The proof comes from the canonical form: no event makes a difference. A refutation is an event that one version accepts and
//! the other refuses; both validators decide that, compiled as in the gateway. If there is neither, the result is "undecided",
//! with the reason. So a mistake in the search for an event can lose a verdict, but never make a wrong verdict.
//!
//! Only events that reach the schemas in the gateway are compared: of this name, with an identity and a time. A version's
//! requirement for `schema_version` is ignored, because an event that names a version is validated by that version alone.

mod compare;
mod mode;
mod mutate;
mod options;
mod patterns;
mod policy;
mod version;
mod witness;

#[cfg(test)]
mod tests;

pub use compare::{Comparer, Origin, Verdict, Witness};
pub use mode::{Demand, Direction, Mode};
pub use policy::{Policy, PolicyError};
pub use version::Version;
