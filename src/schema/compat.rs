//! Whether one version of a schema accepts what another accepts: by proof where there is one, by an event where it does not.
//!
//! A proof is the canonical form's: it shows that no event at all makes a difference. A refusal is an event that the one
//! accepts and the other refuses, judged by both validators as the gateway compiles them. Where there is neither, that is
//! said, with the reason. So a mistake in looking for an event can lose a verdict, and never make a wrong one.
//!
//! What is compared are events that the gateway would bring before the schemas: of this name, with an identity and a time.
//! What a version demands of `schema_version` is set aside, since an event that names a version is judged by that one alone.

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
