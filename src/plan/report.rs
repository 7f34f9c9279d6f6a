//! The plan as text.

use std::fmt::{self, Display, Formatter};

use super::{Plan, StreamPlan};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        writeln!(
            f,
            "load              {} events/h of {} B, busiest hour × {}",
            count(load.events_per_hour),
            load.event_bytes,
            load.peak
        )?;
        writeln!(f, "busiest hour      {} events/s", count(self.peak_events_per_second))?;
        writeln!(f, "gateways          {}, ${}/month with disks", self.gateways, usd(self.gateways_usd))?;
        writeln!(f, "  memory          {} each", bytes(self.memory_bytes))?;
        writeln!(
            f,
            "  dedup on disk   {} each, {} identities in {} days",
            bytes(self.dedup_disk_bytes),
            count(self.identities),
            load.window_days
        )?;
        writeln!(f, "  spool           {} each, for an outage of {} h", bytes(self.spool_bytes), load.outage_hours)?;
        writeln!(f, "shared dedup      {} in Redis or Valkey, where the gateways are to be one", bytes(self.store_bytes))?;
        writeln!(f)?;
        writeln!(f, "USD a month                    {:>14}{:>14}", "none", "packed")?;
        let mut row = |name: &str, value: &dyn Fn(&StreamPlan) -> String| {
            let cells: String = self.streams.iter().map(|stream| format!("{:>14}", value(stream))).collect();
            writeln!(f, "{name:<31}{cells}")
        };
        row("records", &|stream| count(stream.records))?;
        row("shards for the busiest hour", &|stream| stream.shards.to_string())?;
        row("Kinesis, provisioned", &|stream| usd(stream.provisioned_usd))?;
        row("Kinesis, on demand", &|stream| usd(stream.on_demand_usd))?;
        row("Kinesis, on-demand Advantage", &|stream| usd(stream.advantage_usd))?;
        row("+ Firehose to Parquet, S3", &|stream| usd(stream.firehose_usd))?;
        row("instead: Kafka, MSK provisioned", &|stream| usd(stream.msk_provisioned_usd))?;
        row("instead: Kafka, MSK Serverless", &|stream| usd(stream.msk_serverless_usd))?;
        row("instead: Firehose to Parquet", &|stream| usd(stream.direct_firehose_usd))?;
        writeln!(f, "{:<31}{:>14}", "instead: Parquet straight to S3", usd(self.direct_usd))
    }
}

fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", " k", " M", " G", " T"])
}

fn bytes(number: f64) -> String {
    scaled(number, 1000.0, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        (number, unit) = (number / step, unit + 1);
    }
    let digits = if number >= 100.0 || number.fract() == 0.0 { 0 } else { 1 };
    format!("{number:.digits$}{}", units[unit])
}

fn usd(amount: f64) -> String {
    if amount < 100.0 { format!("{amount:.2}") } else { format!("{amount:.0}") }
}
