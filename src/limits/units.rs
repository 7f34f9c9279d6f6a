//! Units of size.

/// A kibibyte.
pub(super) const KIB: usize = 1024;
/// A mebibyte.
pub(super) const MIB: usize = 1024 * KIB;
