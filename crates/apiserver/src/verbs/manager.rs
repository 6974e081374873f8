//! The name under which a request's fields are managed.

use http::HeaderMap;
use objects::FieldError;

use crate::http::query::Query;

const MAX_CHARS: usize = 128;

/// `fieldManager`, or the client's name from its user agent.
pub(super) fn name(query: &Query, headers: &HeaderMap) -> Result<String, FieldError> {
    if let Some(given) = query.get("fieldManager") {
        if given.chars().count() > MAX_CHARS {
            return Err(FieldError::too_long("fieldManager", MAX_CHARS));
        }
        if let Some((at, odd)) = given.char_indices().find(|(_, c)| c.is_control()) {
            let why = format!(
                "invalid character U+{:04X} (at position {at})",
                u32::from(odd)
            );
            return Err(FieldError::invalid("fieldManager", given, why));
        }
        return Ok(given.to_owned());
    }
    let agent = headers
        .get(http::header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let client = agent.split('/').next().unwrap_or_default();
    let client: String = client
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_CHARS)
        .collect();
    Ok(if client.is_empty() {
        "unknown".into()
    } else {
        client
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_after_its_program() {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::USER_AGENT,
            "kubectl/v1.33.0 (linux/amd64)".parse().unwrap(),
        );
        assert_eq!(name(&Query::default(), &headers).unwrap(), "kubectl");
        assert_eq!(
            name(&Query::parse("fieldManager=me"), &headers).unwrap(),
            "me"
        );
    }
}
