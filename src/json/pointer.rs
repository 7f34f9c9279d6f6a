//! The tokens of a JSON pointer (RFC 6901).

/// Encodes a name as a token of a pointer.
#[must_use]
pub fn pointer_token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Decodes a token of a pointer to a name.
#[must_use]
pub fn pointer_name(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_comes_back_from_its_token(name in "[a~/01]{0,12}") {
            let token = pointer_token(&name);
            prop_assert!(!token.contains('/'));
            prop_assert_eq!(pointer_name(&token), name);
        }
    }
}
