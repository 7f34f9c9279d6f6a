//! Why a `created_at` is refused.

/// Why a value is not a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreatedAtError {
    /// Before 1970.
    #[error("is negative")]
    Negative,
    /// Too large even for microseconds, or not finite.
    #[error("is too large even for microseconds")]
    TooLarge,
    /// A text that is not RFC 3339.
    #[error("is not RFC 3339")]
    NotRfc3339,
    /// A number in quotes.
    #[error("is a number in quotes: send it without them")]
    NumberAsText,
    /// A date only.
    #[error("is a date without a time")]
    NoTime,
    /// A text without an offset.
    #[error("has no offset: append Z for UTC, or an offset such as +01:00")]
    NoOffset,
    /// An offset in another form.
    #[error("has an offset in another form than +01:00")]
    BadOffset,
    /// A text with the name of a time zone, as Java's `ZonedDateTime` writes it.
    #[error("names a time zone: leave out the brackets, and keep the offset")]
    ZoneName,
    /// No calendar has such a day, or no day such a time.
    #[error("is no time of any day")]
    NoSuchTime,
    /// A text before 1970, such as the zero time of Go and of .NET.
    #[error("is before 1970")]
    BeforeEpoch,
    /// A text after the last time that a number can name.
    #[error("is after the year 5138")]
    AfterEnd,
}
