//! The gateway under the machine's faults: calls that fail, clocks that jump, descriptors that run out. One module per
//! kind; `support/faults.rs` is the rig.

mod support;

#[path = "faults/app.rs"]
mod app;
#[path = "faults/dead_letters.rs"]
mod dead_letters;
#[path = "faults/dedup.rs"]
mod dedup;
#[path = "faults/delivery.rs"]
mod delivery;
#[path = "faults/durable.rs"]
mod durable;
#[path = "faults/readyz.rs"]
mod readyz;
#[path = "faults/rig.rs"]
mod rig;

#[path = "faults/lake.rs"]
mod lake;
#[path = "faults/spool.rs"]
mod spool;
#[path = "faults/storm.rs"]
mod storm;
