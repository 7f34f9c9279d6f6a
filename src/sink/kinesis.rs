//! Amazon Kinesis: what a record is, where it belongs, and one honest PutRecords call.
//!
//! Which records go into which call, and when a record is sent again, is decided by the flow (`deliver/stream.rs`).
//!
//! `hash` and `shards` where a key belongs · `record`, `kpl` what is sent · `call` what came of it · `client` the SDK

mod call;
mod client;
mod hash;
mod kpl;
mod record;
mod shards;

pub use call::{Answer, RecordResult, read_service_error};
pub use client::KinesisStream;
pub use hash::{HashKey, HashRange, hash_key};
pub use record::{Entry, Packing, RecordBuilder, StreamRecord};
pub use shards::{Shard, ShardMap};
