//! The parameters of an operator's question.

use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

/// The parameters in the address of a request, in order.
///
/// # Errors
/// If a value is not UTF-8.
pub(super) fn parameters(request: &Parts) -> Result<Vec<(&str, String)>, &'static str> {
    let pairs = request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let parameter = |pair| {
        let (name, value): (&str, &str) = str::split_once(pair, '=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8().map_err(|_| "the address is not UTF-8")?;
        Ok((name, value.into_owned()))
    };
    pairs.map(parameter).collect()
}
