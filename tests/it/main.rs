//! The tests of the gateway from outside, in one program: a module for each kind. `cargo test --test it kill::` runs a part.

mod support;

mod answers;
mod attacks;
mod browsers;
mod conformance;
mod console;
mod dead_letters;
mod delivered;
mod dev;
mod disk_full;
mod edge;
mod erasure;
mod faults;
mod find;
mod find_in_stream;
mod firehose;
mod fleet;
mod fleet_store;
mod flood;
mod fuzz;
mod half_close;
mod hostile;
#[cfg(feature = "kafka")]
mod kafka;
mod keys;
mod kill;
mod kinesis_chaos;
mod kinesis_flow;
mod kinesis_ledger;
mod kinesis_outage;
mod kinesis_rig;
mod kinesis_shards;
mod lake_kills;
#[cfg(feature = "s3")]
mod lake_s3;
mod lake_tables;
mod lake_typed;
mod lake_upkeep;
mod ledger;
mod metrics_export;
mod operations;
mod registry;
mod reload;
mod rolling;
mod schemas;
mod schemas_check;
mod schemas_command;
mod several_sinks;
mod sink_change;
mod stop;
mod tail;
mod tidy;
mod top;
mod twins;
mod upgrade;
