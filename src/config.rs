//! Configuration: TOML, then `LAKEGATE__SECTION__KEY` from the environment, then the command line.
//!
//! One small struct per organ, each with its own defaults, each refusing keys it does not know. With nothing configured
//! the gateway runs embedded, on loopback.

mod dedup;
mod keys;
mod load;
mod sections;

pub use dedup::{DedupConfig, DedupStore, RedisConfig, StoreUrl};
pub use keys::KeyConfig;
pub use load::{ConfigError, load};
pub use sections::{
    AdminConfig, Config, DeadLetterConfig, HttpConfig, LakeConfig, LogFormat, RateLimitConfig, SchemasConfig, SpoolConfig,
    StopConfig, TelemetryConfig, TlsConfig, UnknownEvents,
};
