//! Estimates the resources and cost of a load, from measured figures and a price table (`plan/facts.toml`).
//!
//! The estimate is arithmetic on averages and one peak factor: a plan, not a guarantee. Every fact can be overridden.

mod facts;
mod report;

pub use facts::{Facts, FactsError, GatewayFacts, Prices};

use crate::limits::{
    FIREHOSE_AGGREGATE_BYTES, FIREHOSE_AGGREGATE_EVENTS_MAX, KINESIS_AGGREGATE_BYTES, PLAN_HOURS_PER_MONTH, STREAM_LINGER,
};

/// The load to plan for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Events in an average hour.
    pub events_per_hour: f64,
    /// Bytes of an average event, as sent.
    pub event_bytes: f64,
    /// The busiest hour, as a multiple of the average hour.
    pub peak: f64,
    /// Hours of a stream outage during which no event may be refused.
    pub outage_hours: f64,
    /// Days for which identities are remembered.
    pub window_days: f64,
    /// Event types; each has its own files.
    pub event_types: f64,
}

/// The estimated resources and cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The planned load.
    pub load: Load,
    /// Events per second in the busiest hour.
    pub peak_events_per_second: f64,
    /// Gateways, at least two, so that one may fail.
    pub gateways: u64,
    /// Identities in the window, of the whole fleet.
    pub identities: f64,
    /// Bytes of the dedup window on the disk of each gateway.
    pub dedup_disk_bytes: f64,
    /// Bytes of memory of each gateway, the dedup window's filters included.
    pub memory_bytes: f64,
    /// Bytes of the shared store of a fleet.
    pub store_bytes: f64,
    /// Bytes of the spool on each gateway for the longest outage.
    pub spool_bytes: f64,
    /// USD a month for the gateways with their disks.
    pub gateways_usd: f64,
    /// USD a month for Parquet files that the gateways write directly to S3, with a month of storage.
    pub direct_usd: f64,
    /// The stream, packed and unpacked.
    pub streams: Vec<StreamPlan>,
}

/// The resources and cost of a stream with one way of packing. USD are per month.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPlan {
    /// Whether events are packed: in Kinesis as `kpl`, from which `ndjson` differs by a percent, in Firehose as `ndjson`.
    pub is_packed: bool,
    /// Records a month in Kinesis.
    pub records: f64,
    /// Shards for the busiest hour.
    pub shards: u64,
    /// Provisioned for the busiest hour.
    pub provisioned_usd: f64,
    /// On demand.
    pub on_demand_usd: f64,
    /// On-demand Advantage.
    pub advantage_usd: f64,
    /// Firehose from the stream to partitioned Parquet, and the files.
    pub firehose_usd: f64,
    /// In place of a stream: Firehose directly, to partitioned Parquet, and the files.
    pub direct_firehose_usd: f64,
    /// In place of Kinesis: Amazon MSK with brokers for the busiest hour; packed means compressed with zstd.
    pub msk_provisioned_usd: f64,
    /// In place of Kinesis: Amazon MSK Serverless; packed means compressed with zstd.
    pub msk_serverless_usd: f64,
}

const GB: f64 = 1e9;

impl Plan {
    /// Computes the plan.
    #[must_use]
    pub fn new(load: Load, facts: &Facts) -> Self {
        let (prices, gateway) = (&facts.prices, &facts.gateway);
        let per_second = load.events_per_hour / 3600.0;
        let peak_events_per_second = per_second * load.peak;
        let cpu_per_second = peak_events_per_second * gateway.cpu_seconds_per_million / 1e6;
        let gateways = (cpu_per_second / (gateway.cores * gateway.utilisation)).ceil().max(2.0);
        let identities = load.events_per_hour * 24.0 * load.window_days;
        let own_identities = identities / gateways;
        let dedup_disk_bytes = own_identities * gateway.identity_disk_bytes;
        let spool_bytes = load.events_per_hour * load.outage_hours * (load.event_bytes + gateway.added_spool_bytes) / gateways;
        let disk_gb = (dedup_disk_bytes + spool_bytes) / GB + 8.0;
        let month = load.events_per_hour * PLAN_HOURS_PER_MONTH;
        let lake_gb = month * load.event_bytes * gateway.parquet_ratio / GB;
        // One file for each type and flush of a minute; a type without events has none.
        let flushes = (PLAN_HOURS_PER_MONTH * 60.0 * gateways).min(month / load.event_types.max(1.0));
        Self {
            load,
            peak_events_per_second,
            gateways: gateways as u64,
            identities,
            dedup_disk_bytes,
            memory_bytes: gateway.memory_mib * 1024.0 * 1024.0 + own_identities * gateway.identity_memory_bytes,
            store_bytes: identities * gateway.identity_store_bytes,
            spool_bytes,
            gateways_usd: gateways * (prices.machine_hour * PLAN_HOURS_PER_MONTH + disk_gb * prices.disk_gb_month),
            direct_usd: flushes * load.event_types / 1000.0 * prices.s3_put_thousand + lake_gb * prices.s3_gb_month,
            streams: vec![stream(load, facts, gateways, false), stream(load, facts, gateways, true)],
        }
    }
}

fn stream(load: Load, facts: &Facts, gateways: f64, is_packed: bool) -> StreamPlan {
    let (prices, gateway) = (&facts.prices, &facts.gateway);
    let event = load.event_bytes + gateway.added_stream_bytes;
    let events = load.events_per_hour * PLAN_HOURS_PER_MONTH;
    // A record is full only if enough events arrive while the first one lingers.
    let in_one_linger = load.events_per_hour / 3600.0 / gateways * STREAM_LINGER.as_secs_f64();
    let packed = |bytes_max: usize| (bytes_max as f64 / event).floor().min(in_one_linger).max(1.0);
    let per_record = if is_packed { packed(KINESIS_AGGREGATE_BYTES) } else { 1.0 };
    let per_firehose_record =
        if is_packed { packed(FIREHOSE_AGGREGATE_BYTES).min(FIREHOSE_AGGREGATE_EVENTS_MAX as f64) } else { 1.0 };
    let (records, record) = (events / per_record, event * per_record);
    let peak_per_second = load.events_per_hour * load.peak / 3600.0;
    let shards = (peak_per_second / per_record / 1_000.0).max(peak_per_second * event / 1e6).ceil().max(1.0);
    let rounded = |records: f64, record: f64, unit: f64| records * (record / unit).ceil() * unit / GB;
    let units = records * (record / prices.put_unit_bytes).ceil();
    let on_demand_gb = rounded(records, record, 1_000.0);
    let minimum_gb = prices.advantage_min_bytes_per_second * 3600.0 * PLAN_HOURS_PER_MONTH / GB;
    // Firehose bills what it gets, in rounded records, and partitions and stores what is in it.
    let firehose_usd = |gb: f64| {
        gb * (prices.firehose_gb + prices.firehose_parquet_gb)
            + events * event / GB * prices.firehose_partitioning_gb
            + events * load.event_bytes * gateway.parquet_ratio / GB * prices.s3_gb_month
    };
    let direct_gb = rounded(events / per_firehose_record, event * per_firehose_record, prices.firehose_record_bytes);
    StreamPlan {
        is_packed,
        records,
        shards: shards as u64,
        provisioned_usd: shards * prices.shard_hour * PLAN_HOURS_PER_MONTH + units / 1e6 * prices.put_units_million,
        on_demand_usd: prices.on_demand_stream_hour * PLAN_HOURS_PER_MONTH + on_demand_gb * prices.on_demand_gb,
        advantage_usd: on_demand_gb.max(minimum_gb) * prices.advantage_gb,
        firehose_usd: firehose_usd(rounded(records, record, prices.firehose_record_bytes)),
        direct_firehose_usd: firehose_usd(direct_gb),
        msk_provisioned_usd: msk_provisioned_usd(load, facts, is_packed),
        msk_serverless_usd: msk_serverless_usd(load, facts, is_packed),
    }
}

/// Bytes of an event in Kafka.
fn kafka_event_bytes(load: Load, gateway: &GatewayFacts, is_packed: bool) -> f64 {
    (load.event_bytes + gateway.added_stream_bytes) * if is_packed { gateway.kafka_zstd_ratio } else { 1.0 }
}

/// GB that are kept.
fn kafka_kept_gb(load: Load, facts: &Facts, is_packed: bool) -> f64 {
    load.events_per_hour * facts.prices.msk_kept_hours * kafka_event_bytes(load, &facts.gateway, is_packed) / GB
}

fn msk_provisioned_usd(load: Load, facts: &Facts, is_packed: bool) -> f64 {
    let prices = &facts.prices;
    let peak_bytes = load.events_per_hour * load.peak / 3600.0 * kafka_event_bytes(load, &facts.gateway, is_packed);
    // Every broker has a part of the leaders, and copies of the rest.
    let brokers = (peak_bytes / prices.msk_broker_bytes_per_second).ceil().max(prices.msk_brokers_min);
    let stored_gb = kafka_kept_gb(load, facts, is_packed) * prices.msk_replicas;
    brokers * prices.msk_broker_hour * PLAN_HOURS_PER_MONTH + stored_gb * prices.msk_gb_month
}

fn msk_serverless_usd(load: Load, facts: &Facts, is_packed: bool) -> f64 {
    let prices = &facts.prices;
    let event_bytes = kafka_event_bytes(load, &facts.gateway, is_packed);
    let peak_bytes = load.events_per_hour * load.peak / 3600.0 * event_bytes;
    let partitions = (peak_bytes / prices.msk_partition_bytes_per_second).ceil().max(1.0);
    let in_gb = load.events_per_hour * PLAN_HOURS_PER_MONTH * event_bytes / GB;
    (prices.msk_serverless_hour + partitions * prices.msk_partition_hour) * PLAN_HOURS_PER_MONTH
        + in_gb * prices.msk_serverless_in_gb
        + kafka_kept_gb(load, facts, is_packed) * prices.msk_gb_month
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(events_per_hour: f64, event_bytes: f64) -> Plan {
        let load = Load { events_per_hour, event_bytes, peak: 1.0, outage_hours: 1.0, window_days: 7.0, event_types: 100.0 };
        Plan::new(load, &Facts::default())
    }

    /// KINESIS.md: 10,000 events/s of 500 B for 30 days are about $471 one by one and $61 in 25 KB records, provisioned; about
    /// $2,000 and $1,000 on demand. The published example adds nothing to an event.
    #[test]
    fn the_published_example_comes_out() {
        let plan = plan(36e6, 500.0 - 190.0);
        let month = 730.0 / 720.0;
        let close = |found: f64, expected: f64| (found / month / expected - 1.0).abs() < 0.1;
        let [none, kpl] = &plan.streams[..] else { panic!() };
        assert!(close(none.provisioned_usd, 471.0), "{}", none.provisioned_usd);
        assert!(close(kpl.provisioned_usd, 61.0), "{}", kpl.provisioned_usd);
        assert!(close(none.on_demand_usd, 2_100.0), "{}", none.on_demand_usd);
        assert!(close(kpl.on_demand_usd, 1_065.0), "{}", kpl.on_demand_usd);
        assert_eq!((none.shards, kpl.shards), (10, 5));
    }

    /// AWS.md: Firehose directly costs $0.046 for a million packed events of 500 B, and $0.25 one by one, without the storage.
    #[test]
    fn firehose_directly_costs_a_fifth_when_packed() {
        let (plan, facts) = (plan(36e6, 500.0), Facts::default());
        let millions = 36.0 * PLAN_HOURS_PER_MONTH;
        let storage = 500.0 * 1e6 * facts.gateway.parquet_ratio / GB * facts.prices.s3_gb_month;
        let of_a_million = |stream: &StreamPlan| stream.direct_firehose_usd / millions - storage;
        let [none, packed] = &plan.streams[..] else { panic!() };
        assert!((of_a_million(none) / 0.25 - 1.0).abs() < 0.05, "{}", of_a_million(none));
        assert!((of_a_million(packed) / 0.046 - 1.0).abs() < 0.05, "{}", of_a_million(packed));
    }

    /// A million events of 500 B, at a million an hour: $0.18 in the smallest cluster of MSK, $0.84 in MSK Serverless.
    #[test]
    fn msk_costs_what_its_brokers_or_its_hours_cost() {
        let plan = plan(1e6, 500.0);
        let of_a_million = |usd: f64| usd / PLAN_HOURS_PER_MONTH;
        let none = &plan.streams[0];
        assert!((0.175..0.19).contains(&of_a_million(none.msk_provisioned_usd)), "{}", of_a_million(none.msk_provisioned_usd));
        assert!((0.82..0.87).contains(&of_a_million(none.msk_serverless_usd)), "{}", of_a_million(none.msk_serverless_usd));
        assert!(plan.streams[1].msk_serverless_usd < none.msk_serverless_usd);
    }

    #[test]
    fn everything_grows_with_the_load_and_nothing_falls_below_its_least() {
        let (small, usual, large) = (plan(1e3, 500.0), plan(1e6, 500.0), plan(1e9, 500.0));
        assert_eq!((small.gateways, usual.gateways), (2, 2));
        assert!(large.gateways > 2);
        assert_eq!(small.streams[0].shards, 1);
        assert_eq!(large.streams[0].shards, 278);
        assert!(small.spool_bytes < usual.spool_bytes && usual.store_bytes < large.store_bytes);
        assert!(small.streams[0].advantage_usd > 2_000.0, "its minimum is billed");
    }
}
