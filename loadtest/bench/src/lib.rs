//! What the load and the micro-benchmarks share: realistic events, and the registry of 100 types that they belong to.

pub mod corpus;
pub mod events;
pub mod registry;
