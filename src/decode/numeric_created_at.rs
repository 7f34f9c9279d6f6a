//! The event as its schemas see it: `created_at` is always a number.
//!
//! Schemas say that `created_at` is a number, those that authors copied from this repository too, and a published schema never
//! changes. So an event whose `created_at` is RFC 3339 text is validated with the number of the same time in its place. Only
//! validation sees that number: the payload keeps the text.

use std::fmt::Write;

use crate::{
    event::CreatedAt,
    json::{Kind, Node, Parser, Tape},
};

/// Calls `validate` with `event`, in which `created_at` is a number. Copies the event if `created_at` is text.
pub fn with_numeric_created_at<T>(event: Node<'_>, validate: impl FnOnce(Node<'_>) -> T) -> T {
    let text = event.members().find(|(name, value)| name == "created_at" && value.kind() == Kind::String);
    let created_at = text.and_then(|(_, text)| CreatedAt::parse_text(&text.string()?).ok());
    let Some(created_at) = created_at else { return validate(event) };
    let mut copy = String::with_capacity(event.raw().len());
    for (name, member) in event.members().with_raw() {
        copy.push(if copy.is_empty() { '{' } else { ',' });
        if name == "created_at" {
            // Into memory: cannot fail.
            let _ = write!(copy, "\"created_at\":{}", created_at.seconds);
        } else {
            copy.push_str(member);
        }
    }
    copy.push('}');
    let mut tape = Tape::new();
    match Parser::new(&copy, usize::MAX).value(&mut tape) {
        Ok(_) => validate(tape.root(&copy)),
        Err(_) => {
            debug_assert!(false, "members that were parsed before are JSON");
            validate(event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(event: &str) -> String {
        let mut tape = Tape::new();
        Parser::new(event, usize::MAX).value(&mut tape).unwrap();
        with_numeric_created_at(tape.root(event), |event| event.raw().to_owned())
    }

    #[test]
    fn only_the_text_of_created_at_is_replaced() {
        assert_eq!(
            seen(r#"{ "a": [1, {"created_at": "x"}], "created_\u0061t" : "2026-11-19T18:00:03.5Z", "b":"\u00e9" }"#),
            r#"{"a": [1, {"created_at": "x"}],"created_at":1795111203.5,"b":"\u00e9"}"#
        );
        for same in
            [r#"{ "created_at": 1.50 }"#, r#"{"created_at":"yesterday"}"#, "{}", r#"[{"created_at":"2026-11-19T18:00Z"}]"#]
        {
            assert_eq!(seen(same), same);
        }
        assert_eq!(seen(r#"{"created_at":"2026-11-19T18:00Z"}"#), r#"{"created_at":1795111200}"#);
    }
}
