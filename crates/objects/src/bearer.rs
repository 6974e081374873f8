//! The token in the value of an `Authorization` header (RFC 6750), read the same at every door: the API server's, the
//! console's, that of Pipelines, a node's. What the token is worth is theirs to judge.

/// The token of `Bearer TOKEN`; none for another scheme or an empty token.
pub fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::bearer_token;

    #[test]
    fn a_token_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer_token("Bearer abc"), Some("abc"));
        assert_eq!(bearer_token(" bEaReR  abc "), Some("abc"));
    }

    #[test]
    fn other_schemes_and_empty_tokens_are_no_bearers() {
        for value in ["", "Bearer", "Bearer ", "Basic YTpi", "abc"] {
            assert_eq!(bearer_token(value), None, "{value:?}");
        }
    }
}
