//! Explains the faults of an event to the author of the page or the service that sent it: the expected value, the actual value,
//! and, after a likely typo, the probable intention.
//!
//! Messages show values, because most faults cannot be understood without them. They never show values of fields whose names
//! look secret, or the contents of objects and arrays.

use std::collections::HashSet;

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::{
    subschema::names_at,
    suggestions::{Suggestions, most_like},
};
use crate::{
    json::{Kind, Node, counted, kind_shown, pointer_name, quoted, shown},
    limits::MESSAGE_LIST_MAX,
    outcome::Fault,
};

/// Words in a field name that mark its value as secret.
const SECRET_WORDS: [&str; 21] = [
    "auth",
    "authorization",
    "bearer",
    "card",
    "cookie",
    "credential",
    "cvc",
    "cvv",
    "iban",
    "jwt",
    "otp",
    "pan",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "pwd",
    "secret",
    "signature",
    "ssn",
    "token",
];

/// Pairs of words that are secret together, although each word is harmless alone.
const SECRET_PAIRS: [&str; 5] = ["apikey", "accesskey", "privatekey", "secretkey", "sessionkey"];

/// Explains the faults of one event.
pub(super) struct Explainer<'a> {
    pub(super) event: Node<'a>,
    /// The schema as served.
    pub(super) document: &'a Value,
    pub(super) suggestions: &'a mut Suggestions,
}

/// The place of a fault.
struct Place<'a> {
    steps: Vec<String>,
    /// The value at the place.
    value: Option<Node<'a>>,
    is_secret: bool,
}

impl<'a> Explainer<'a> {
    /// A fault from the library's error.
    pub(super) fn fault(&mut self, error: &ValidationError<'_>) -> Fault {
        Fault::new(self.detail(error), error.instance_path().as_str())
    }

    fn detail(&mut self, error: &ValidationError<'_>) -> String {
        use ValidationErrorKind as Kind;
        let place = self.place(error.instance_path().as_str());
        match error.kind() {
            Kind::Required { property } => format!("the required field {} is missing", text_of(property)),
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                self.unknown(&place, unexpected)
            }
            Kind::PropertyNames { error } => {
                format!("the name of the field {} is not allowed: expected {}", text_of(error.instance()), expected(error.kind()))
            }
            Kind::FalseSchema => format!("nothing is allowed here, got {}", place.got()),
            Kind::Enum { options } => {
                let allowed = options.as_array().map_or(&[][..], Vec::as_slice);
                format!("expected {}, got {}{}", one_of(allowed), place.got(), self.meant(&place, allowed))
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.no_branch(&place, context),
            Kind::OneOfMultipleValid { .. } => {
                format!("expected exactly one of the forms that the schema allows, got {}, which is of several", place.got())
            }
            Kind::MinLength { .. } | Kind::MaxLength { .. } => {
                let chars = place.value.and_then(|value| value.string()).map_or(0, |text| text.chars().count());
                format!("expected {}, got {chars}", expected(error.kind()))
            }
            Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::AdditionalItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. } => {
                format!("expected {}, got {}", expected(error.kind()), place.value.map_or(0, |value| value.count()))
            }
            // Rare kinds of errors: the library's own message, without the value.
            Kind::BacktrackLimitExceeded { .. }
            | Kind::RegexEngineFailure { .. }
            | Kind::FromUtf8 { .. }
            | Kind::UnevaluatedItems { .. }
            | Kind::Referencing(_) => error.masked_with("the value").to_string(),
            kind => format!("expected {}, got {}", expected(kind), place.got()),
        }
    }

    fn place(&self, pointer: &str) -> Place<'a> {
        let steps: Vec<String> = pointer.split('/').skip(1).map(pointer_name).collect();
        let value = steps.iter().try_fold(self.event, |around, step| match around.kind() {
            Kind::Object => around.members().find(|(name, _)| *name == **step).map(|(_, value)| value),
            Kind::Array => step.parse().ok().and_then(|index| around.elements().nth(index)),
            _ => None,
        });
        let is_secret = steps.iter().any(|step| looks_secret(step));
        Place { steps, value, is_secret }
    }

    /// Fields that the schema does not know, each with the most similar known field.
    fn unknown(&mut self, place: &Place<'_>, unexpected: &[String]) -> String {
        let mut free = if self.suggestions.are_fields_left() { names_at(self.document, &place.steps) } else { Vec::new() };
        // A field that is present was not misspelt. This is one pass over the members, because there may be thousands.
        let mut absent: HashSet<&str> = free.iter().copied().collect();
        for (there, _) in place.value.iter().flat_map(Node::members) {
            if absent.remove(&*there) && absent.is_empty() {
                break;
            }
        }
        free.retain(|name| absent.contains(name));
        let mut names = Vec::new();
        let mut hints = Vec::new();
        for name in unexpected.iter().take(MESSAGE_LIST_MAX / 2) {
            names.push(quoted(name));
            let nearest = self.suggestions.take_field().then(|| most_like(name, free.iter().copied())).flatten();
            hints.extend(nearest.map(|nearest| match unexpected.len() {
                1 => format!("{nearest:?}"),
                _ => format!("{nearest:?} for {}", quoted(name)),
            }));
        }
        let rest = unexpected.len() - names.len();
        let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        let (fields, are) = if unexpected.len() == 1 { ("field", "is") } else { ("fields", "are") };
        let hint = if hints.is_empty() { String::new() } else { format!("; did you mean {}?", hints.join(", ")) };
        format!("the {fields} {}{more} {are} not in the schema{hint}", names.join(", "))
    }

    /// The allowed text that is most similar to the value.
    fn meant(&mut self, place: &Place<'_>, allowed: &[Value]) -> String {
        let text = place.value.filter(|_| !place.is_secret).and_then(|value| value.string());
        let Some(text) = text.filter(|_| self.suggestions.take_field()) else { return String::new() };
        let nearest = most_like(&text, allowed.iter().filter_map(Value::as_str));
        nearest.map_or(String::new(), |nearest| format!("; did you mean {}?", quoted(nearest)))
    }

    /// A value that matches none of several forms: the expectation of each form, or the first fault of the nearest form.
    fn no_branch(&mut self, place: &Place<'_>, branches: &[Vec<ValidationError<'static>>]) -> String {
        let here = |error: &ValidationError<'_>| {
            let is_simple = matches!(error.kind(), ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. });
            is_simple && self.place(error.instance_path().as_str()).steps == place.steps
        };
        let of_another_kind = branches.iter().map(|errors| errors.iter().find(|error| here(error))).collect::<Vec<_>>();
        if of_another_kind.iter().all(Option::is_some) {
            let mut forms: Vec<String> = of_another_kind.into_iter().flatten().map(|error| expected(error.kind())).collect();
            forms.dedup();
            return format!("expected {}, got {}", listed(&forms, "or"), place.got());
        }
        // The form with the right kind; if there are several, the form with the fewest errors.
        let of_this_kind = branches.iter().zip(of_another_kind).filter(|(errors, other)| other.is_none() && !errors.is_empty());
        let nearest = of_this_kind.min_by_key(|(errors, _)| errors.len()).and_then(|(errors, _)| errors.first());
        let forms = counted(branches.len(), "form");
        match nearest {
            Some(error) => {
                let at = error.instance_path().as_str();
                format!("none of the {forms} that the schema allows; the nearest: {} (at {at:?})", self.detail(error))
            }
            None => format!("none of the {forms} that the schema allows, got {}", place.got()),
        }
    }
}

impl Place<'_> {
    /// The value, as far as it may be shown.
    fn got(&self) -> String {
        match &self.value {
            None => "nothing".into(),
            Some(value) if self.is_secret => kind_shown(value),
            Some(value) => shown(value),
        }
    }
}

/// The requirement of a keyword, such as `at most 100`.
fn expected(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind } => types(kind),
        Kind::Constant { expected_value } => one(expected_value),
        Kind::Enum { options } => one_of(options.as_array().map_or(&[][..], Vec::as_slice)),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        // A keyword of Lakegate.
        Kind::Custom { message, .. } => message.clone(),
        Kind::MinLength { limit } => format!("at least {}", counted(*limit as usize, "character")),
        Kind::MaxLength { limit } => format!("at most {}", counted(*limit as usize, "character")),
        Kind::MinItems { limit } => format!("at least {}", counted(*limit as usize, "element")),
        Kind::MaxItems { limit } => format!("at most {}", counted(*limit as usize, "element")),
        Kind::AdditionalItems { limit } => format!("at most {}", counted(*limit, "element")),
        Kind::MinProperties { limit } => format!("at least {}", counted(*limit as usize, "field")),
        Kind::MaxProperties { limit } => format!("at most {}", counted(*limit as usize, "field")),
        Kind::Pattern { pattern } => format!("a string that matches {}", quoted(pattern)),
        Kind::Format { format } => format_named(format),
        Kind::UniqueItems => "elements that all differ".into(),
        Kind::Contains => "an array with a certain element, which the schema describes".into(),
        Kind::ContentEncoding { content_encoding } => format!("a string in the encoding {}", quoted(content_encoding)),
        Kind::ContentMediaType { content_media_type } => format!("a string that holds {}", quoted(content_media_type)),
        Kind::Not { .. } => "something else than what the schema excludes".into(),
        _ => "what the schema says".into(),
    }
}

/// A format with an example, because not every reader knows its name.
fn format_named(format: &str) -> String {
    let (what, example) = match format {
        "uuid" => ("a UUID", "0190b0a1-7c3e-7d52-a1b2-c3d4e5f60718"),
        "date-time" => ("a date and time with offset (RFC 3339)", "2026-11-21T12:30:00Z"),
        "date" => ("a date", "2026-11-21"),
        "time" => ("a time with offset", "12:30:00Z"),
        "duration" => ("a duration (ISO 8601)", "PT1H30M"),
        "email" | "idn-email" => ("an e-mail address", "ana@example.com"),
        "uri" | "iri" => ("an absolute URI", "https://example.com/menu"),
        "hostname" | "idn-hostname" => ("a host name", "menu.example.com"),
        "ipv4" => ("an IPv4 address", "192.0.2.1"),
        "ipv6" => ("an IPv6 address", "2001:db8::1"),
        other => return format!("a string of the format {}", quoted(other)),
    };
    format!("{what} such as {example}")
}

fn types(kind: &TypeKind) -> String {
    let named = |kind: JsonType| match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "an array",
        JsonType::Object => "an object",
    };
    match kind {
        TypeKind::Single(kind) => named(*kind).into(),
        TypeKind::Multiple(kinds) => {
            let mut names: Vec<String> = kinds.iter().map(|kind| named(kind).to_owned()).collect();
            // `null` comes last.
            names.sort_by_key(|name| name == "null");
            listed(&names, "or")
        }
    }
}

/// One allowed value.
fn one(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => "a certain array or object, which the schema names".into(),
        scalar => scalar.to_string(),
    }
}

fn one_of(allowed: &[Value]) -> String {
    let shown: Vec<String> = allowed.iter().take(MESSAGE_LIST_MAX).map(one).collect();
    match allowed.len().saturating_sub(shown.len()) {
        0 if shown.len() == 1 => shown.concat(),
        0 => format!("one of {}", shown.join(", ")),
        more => format!("one of {} and {more} more", shown.join(", ")),
    }
}

/// `a, b or c`
fn listed(items: &[String], last: &str) -> String {
    match items.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, start)) => format!("{} {last} {end}", start.join(", ")),
        None => String::new(),
    }
}

fn text_of(name: &Value) -> String {
    name.as_str().map_or_else(|| name.to_string(), quoted)
}

/// Whether a field name marks its value as secret: one of its words does, in `snake_case` or `camelCase`.
fn looks_secret(name: &str) -> bool {
    let mut words: Vec<String> = vec![String::new()];
    let mut after_small = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || letter.is_uppercase() && after_small {
            words.push(String::new());
        }
        after_small = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    let is_secret = |word: &String| {
        let word = word.trim_end_matches(|letter: char| letter == 's' || letter.is_numeric());
        SECRET_WORDS.iter().any(|secret| word == secret.trim_end_matches('s')) || SECRET_PAIRS.contains(&word)
    };
    words.iter().any(is_secret) || words.windows(2).any(|pair| SECRET_PAIRS.contains(&pair.concat().trim_end_matches('s')))
}

#[cfg(test)]
mod tests;
