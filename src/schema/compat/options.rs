//! Options of the `jsonschema` crate for compared schemas.

/// The options of the gateway, for every comparison: another engine or unasserted formats would change the schemas' meaning.
pub(super) fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::options()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(jsonschema::PatternOptions::regex())
}
