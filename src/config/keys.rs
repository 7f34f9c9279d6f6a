//! `[[keys]]`: who may send.

use serde::{Deserialize, Serialize};

/// One key.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Name, which becomes the `source` of its events: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// SHA-256 of the secret, 64 hexadecimal digits. The secret itself is in no file.
    pub secret_sha256: String,
    /// Whether it may send now.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}
