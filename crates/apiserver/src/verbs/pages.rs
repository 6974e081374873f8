//! Continue tokens: where a list stopped and at which revision, opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How long a list may be paged through consistently; as long as upstream keeps history.
const LIFE_SECONDS: i64 = 300;

/// The content of a continue token.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    v: String,
    /// The revision of the list; -1 goes on with whatever is there now.
    pub(super) rv: i64,
    /// The key that the next page begins with.
    pub(super) start: String,
    /// When the page before was made, in seconds since 1970.
    #[serde(default)]
    t: i64,
}

impl Token {
    pub(super) fn new(revision: i64, start: String) -> Self {
        Self {
            v: "meta.k8s.io/v1".into(),
            rv: revision,
            start,
            t: jiff::Timestamp::now().as_second(),
        }
    }

    /// Whether the list of this token is too old to be shown as it was.
    pub(super) fn is_old(&self) -> bool {
        jiff::Timestamp::now().as_second() - self.t > LIFE_SECONDS
    }

    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD
            .encode(serde_json::to_vec(self).expect("text and a number always serialise"))
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let token: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (token.v == "meta.k8s.io/v1" && !token.start.is_empty()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_comes_back_as_it_was_and_rubbish_does_not() {
        let token = Token::new(7, "a/b\0".into());
        assert_eq!(Token::decode(&token.encode()), Some(token));
        assert_eq!(Token::decode("rubbish"), None);
    }
}
