//! Limits of the schema registry.

use std::time::Duration;

use super::units::MIB;

/// Bytes of one schema file.
/// Why: the largest published event schemas have about 60 KB.
pub const SCHEMA_BYTES_MAX: u64 = MIB as u64;

/// Seconds for which a numbered version of a schema may be cached.
/// Why: published versions never change; if one was changed anyway, caches are correct again after a day.
pub const SCHEMA_CACHE_SECONDS: u32 = 86_400;

/// Time between two checks of the schema files.
/// Why: a new version is used within seconds; a check of 1,000 schemas takes some 5 ms of one processor.
pub const SCHEMA_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Names in one log line of what a reload added, removed or changed.
/// Why: a registry may bring a thousand at once, and a line should stay below the length at which log collectors cut.
pub const RELOAD_NAMES_LOGGED_MAX: usize = 20;

/// Levels of a schema up to which references are replaced by their targets.
/// Why: deeper references refer to themselves.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Parts of a schema that apply to the same value, examined for a message.
/// Why: our schemas have at most 3, for the event itself; nested choices grow without end.
pub const SCHEMA_PLACE_PARTS_MAX: usize = 256;

/// Schema nodes created by the replacement of references.
/// Why: references to references grow exponentially; our largest schema has 700.
pub const SCHEMA_FLAT_NODES_MAX: usize = 50_000;

/// Schema versions in one registry.
/// Why: 100 types of 100 versions; each compiled validator takes some 10 KB.
pub const SCHEMAS_MAX: usize = 10_000;

/// Bytes of the table that a schema pattern is compiled to; a larger pattern is matched by the library instead.
/// Why: our largest table has 40 KiB, and compiling takes time and memory in proportion.
pub const SCHEMA_PATTERN_TABLE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the name that a field's column has.
/// Why: Glue takes 255, and a number may be appended to make two names distinct.
pub const COLUMN_NAME_BYTES_MAX: usize = 240;

/// Levels of objects and arrays that become columns with types; what is deeper is JSON text.
/// Why: engines differ in how deep their types may be; events have three levels.
pub const COLUMN_DEPTH_MAX: usize = 16;
