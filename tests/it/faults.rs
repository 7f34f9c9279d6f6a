//! The gateway under the machine's faults: calls that fail, clocks that jump, descriptors that run out. One module per
//! kind; `support/faults.rs` is the rig.

mod app;
mod dead_letters;
mod dedup;
mod delivery;
mod durable;
mod ledger;
mod readyz;
mod rig;

mod lake;
mod spool;
mod storm;
