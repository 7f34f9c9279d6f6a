//! What makes two rows of a partition the same event.

use uuid::Uuid;

/// The part of the key that every row has: `event_uuid`, and the bits of `created_at` (LAKE.md). The scope of the identity
/// (`dedup_scope`) belongs to the key too. `None` for an identity in a format that no gateway writes: such rows are never
/// duplicates.
pub(super) fn identity(event_uuid: &str, created_at: f64) -> Option<(u128, u64)> {
    Some((Uuid::try_parse(event_uuid).ok()?.as_u128(), created_at.to_bits()))
}
