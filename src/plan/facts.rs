//! The input figures of the plan, and how a file overrides them.

use serde::Deserialize;
use toml::Table;

const DEFAULTS: &str = include_str!("facts.toml");

/// Prices and measured figures.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Prices of AWS.
    pub prices: Prices,
    /// Measured figures of the gateway.
    pub gateway: GatewayFacts,
}

/// Prices in USD; `facts.toml` explains each.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "facts.toml says what each is")]
pub struct Prices {
    pub date: String,
    pub source: String,
    pub shard_hour: f64,
    pub put_units_million: f64,
    pub put_unit_bytes: f64,
    pub on_demand_stream_hour: f64,
    pub on_demand_gb: f64,
    pub advantage_gb: f64,
    pub advantage_min_bytes_per_second: f64,
    pub firehose_gb: f64,
    pub firehose_record_bytes: f64,
    pub firehose_parquet_gb: f64,
    pub firehose_partitioning_gb: f64,
    pub msk_broker_hour: f64,
    pub msk_brokers_min: f64,
    pub msk_broker_bytes_per_second: f64,
    pub msk_replicas: f64,
    pub msk_kept_hours: f64,
    pub msk_gb_month: f64,
    pub msk_serverless_hour: f64,
    pub msk_partition_hour: f64,
    pub msk_partition_bytes_per_second: f64,
    pub msk_serverless_in_gb: f64,
    pub s3_put_thousand: f64,
    pub s3_gb_month: f64,
    pub machine_hour: f64,
    pub disk_gb_month: f64,
}

/// Measured figures; `facts.toml` explains each.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "facts.toml says what each is")]
pub struct GatewayFacts {
    pub cores: f64,
    pub cpu_seconds_per_million: f64,
    pub utilisation: f64,
    pub added_stream_bytes: f64,
    pub added_spool_bytes: f64,
    pub identity_disk_bytes: f64,
    pub identity_memory_bytes: f64,
    pub memory_mib: f64,
    pub identity_store_bytes: f64,
    pub parquet_ratio: f64,
    pub kafka_zstd_ratio: f64,
}

/// Why a file of facts is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FactsError(String);

impl Facts {
    /// The defaults, overridden by `text`, TOML in the same form.
    ///
    /// # Errors
    /// If `text` is not TOML, or has an unknown name or a wrong type.
    pub fn overridden_by(text: &str) -> Result<Self, FactsError> {
        let wrong = |error: toml::de::Error| FactsError(error.to_string().trim_end().to_owned());
        let mut all: Table = DEFAULTS.parse().map_err(wrong)?;
        for (section, keys) in text.parse::<Table>().map_err(wrong)? {
            let keys = keys.as_table().cloned().ok_or_else(|| FactsError(format!("{section} is not a section")))?;
            match all.get_mut(&section).and_then(toml::Value::as_table_mut) {
                Some(known) => known.extend(keys),
                None => return Err(FactsError(format!("[{section}] is unknown; [prices] and [gateway] are allowed"))),
            }
        }
        // Accepts `1` for `1.0`.
        for value in all.iter_mut().filter_map(|(_, section)| section.as_table_mut()).flat_map(|section| section.iter_mut()) {
            if let toml::Value::Integer(whole) = value.1 {
                *value.1 = toml::Value::Float(*whole as f64);
            }
        }
        all.try_into().map_err(wrong)
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::overridden_by("").unwrap_or_else(|error| unreachable!("facts.toml is part of the program: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overrides_what_it_names_and_is_refused_where_it_names_what_there_is_not() {
        let facts = Facts::overridden_by("[prices]\nshard_hour = 1\n").unwrap();
        assert_eq!((facts.prices.shard_hour, facts.prices.put_units_million), (1.0, 0.014));
        for wrong in ["[prices]\nshard = 1", "[price]\nshard_hour = 1", "[prices]\nshard_hour = \"x\"", "a = [", "prices = 1"] {
            assert!(Facts::overridden_by(wrong).is_err(), "{wrong}");
        }
    }
}
