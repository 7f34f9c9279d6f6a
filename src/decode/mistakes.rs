//! What a body is that is no JSON: the usual mistakes of HTTP libraries and of those who use them.

use crate::json::Node;

/// What `text` looks like, for the end of an error message; empty if it looks like nothing known.
pub(super) fn body_hint(text: &str) -> &'static str {
    let text = text.trim_start();
    let first_word = text.split(['=', '&', ' ', '\n', '"', '{', '[']).next().unwrap_or_default();
    if text.starts_with("[object ") {
        return " (this is the text of a JavaScript object; send JSON.stringify(event))";
    }
    if text.starts_with("{'") || text.starts_with("[{'") {
        return " (this is how Python prints a dict; send json.dumps(event))";
    }
    if text.starts_with("--") && text.contains("Content-Disposition: form-data") {
        return " (this is a form, multipart/form-data; send the JSON itself as the body)";
    }
    if text.starts_with("%7B") || text.starts_with("%5B") {
        return " (this is escaped for a URL; send the JSON itself)";
    }
    if !first_word.is_empty() && text[first_word.len()..].starts_with('=') {
        return " (this is a form, name=value; send JSON)";
    }
    if text.starts_with('<') {
        return " (this is XML or HTML; send JSON)";
    }
    ""
}

/// A hint if `value` is a text that holds JSON: it was encoded twice.
pub(super) fn encoded_twice(value: &Node<'_>) -> &'static str {
    let holds_json = value.string().is_some_and(|text| text.trim_start().starts_with(['{', '[']));
    if holds_json { " (a text that holds JSON: it was encoded twice; send it as it is)" } else { "" }
}

#[cfg(test)]
mod tests {
    use crate::decode::{BodyForm, for_each_element};

    #[test]
    fn the_usual_mistakes_are_named() {
        let error = |body: &[u8]| for_each_element(body, BodyForm::Json, |_| {}).unwrap_err().to_string();
        for (body, hint) in [
            ("event_name=order%3Acreated&created_at=1", "name=value"),
            ("%7B%22event_name%22", "escaped for a URL"),
            ("--x7f\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{}\r\n--x7f--", "multipart/form-data"),
            ("[object Object]", "JSON.stringify"),
            ("{'event_uuid': 'x'}", "json.dumps"),
            ("[{'event_uuid': 'x'}]", "json.dumps"),
            ("<html>", "XML or HTML"),
            (r#""{\"event_uuid\":\"x\"}""#, "encoded twice"),
            ("{}\n{}", "application/x-ndjson"),
            ("{\0}\0", "UTF-16"),
            ("\0{\0}", "UTF-16"),
            ("{\0\0\0}\0\0\0", "UTF-32"),
        ] {
            assert!(error(body.as_bytes()).contains(hint), "{body:?}: {}", error(body.as_bytes()));
        }
        for body in ["", " ", "nonsense", "{\"a\":", "=1"] {
            assert!(!error(body.as_bytes()).contains('('), "{body:?}");
        }
        let mut detail = String::new();
        for_each_element(br#"["{\"event_uuid\":1}"]"#, BodyForm::Json, |element| {
            detail = element.event.unwrap_err().faults[0].detail.clone();
        })
        .unwrap();
        assert!(detail.contains("encoded twice"), "{detail}");
    }
}
