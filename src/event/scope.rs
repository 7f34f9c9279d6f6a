//! The scope of an identity: which events can be duplicates of each other.
//!
//! Everyone can read a browser key and choose the UUIDs of its events. So each browser key has its own scope: its events are
//! duplicates only of its own events. All server keys share one scope, because their secrets are not public.
//!
//! ```text
//! server keys   identity = event_uuid
//! browser key   identity = the first 16 bytes of HMAC-SHA256(secret, event_uuid ‖ name of the key)
//! ```
//!
//! The secret prevents a client from choosing an event whose identity collides with another scope, because without the secret
//! identities cannot be computed. A gateway creates its secret at its first start; a fleet shares one secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The secret of the hash that scopes identities. Never print it.
#[derive(Clone)]
pub struct ScopeSecret {
    bytes: [u8; Self::BYTES],
    /// Initialized with the secret, so that an identity costs two blocks of SHA-256.
    mac: Hmac<Sha256>,
}

impl ScopeSecret {
    /// The length of a secret in bytes.
    pub const BYTES: usize = 32;

    /// Creates the secret from these bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        let mac = Hmac::new(&bytes_of_key(&bytes));
        Self { bytes, mac }
    }

    /// Creates a random secret.
    #[must_use]
    pub fn random() -> Self {
        // Each UUID has 122 random bits from the operating system.
        let random: [[u8; 16]; 4] = std::array::from_fn(|_| *Uuid::new_v4().as_bytes());
        Self::new(Sha256::digest(random.as_flattened()).into())
    }

    /// The bytes of the secret, for storage. Do not log them.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.bytes
    }

    /// The identity of an event within the scope of `browser_key`, or of all server keys if there is no browser key.
    #[must_use]
    pub fn identity(&self, event_uuid: Uuid, browser_key: Option<&str>) -> Uuid {
        let Some(name) = browser_key else { return event_uuid };
        let mut mac = self.mac.clone();
        // The UUID comes first, because its fixed length makes the bytes of each pair of UUID and name unique.
        mac.update(event_uuid.as_bytes());
        mac.update(name.as_bytes());
        let code = mac.finalize().into_bytes();
        let mut identity = [0; 16];
        identity.copy_from_slice(&code[..16]);
        Uuid::from_bytes(identity)
    }
}

/// Pads the key to a whole block as HMAC does, because `new` with a whole block cannot fail.
fn bytes_of_key(bytes: &[u8; ScopeSecret::BYTES]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    key[..ScopeSecret::BYTES].copy_from_slice(bytes);
    key
}

impl PartialEq for ScopeSecret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl std::fmt::Debug for ScopeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScopeSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_key_is_a_scope_of_its_own_and_server_keys_share_one() {
        let (secret, uuid) = (ScopeSecret::new([7; 32]), Uuid::from_u128(0x0190_b0a1_7c3e_7d52_a1b2_c3d4_e5f6_0718));
        assert_eq!(secret.identity(uuid, None), uuid);
        let [web, app] = ["web", "app"].map(|key| secret.identity(uuid, Some(key)));
        assert!(web != uuid && app != uuid && web != app);
        assert_eq!(secret.identity(uuid, Some("web")), web);
        assert_ne!(ScopeSecret::random().identity(uuid, Some("web")), web);
        assert_eq!(format!("{secret:?}"), "ScopeSecret(…)");
    }

    #[test]
    fn the_identity_is_what_every_other_hmac_says() {
        // python3 -c "import hmac,uuid;print(hmac.new(bytes([7]*32),uuid.UUID(int=1).bytes+b'web','sha256').hexdigest()[:32])"
        let identity = ScopeSecret::new([7; 32]).identity(Uuid::from_u128(1), Some("web"));
        assert_eq!(identity.simple().to_string(), "3bdde0f08db5b8755c6cf782a3fc7a30");
    }
}
