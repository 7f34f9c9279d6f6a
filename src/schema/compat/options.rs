//! How the `jsonschema` crate reads schemas that are compared.

/// How the gateway reads schemas, wherever they are compared: another engine or unasserted formats would be other schemas.
pub(super) fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::options()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(jsonschema::PatternOptions::regex())
}
