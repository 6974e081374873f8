//! What a browser could be tricked into: requests from a foreign page, and names that resolve to this machine.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::identity::problem;

/// Names under which this machine's own browser reaches the door.
const LOCAL: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Whether `Host` is a name of this machine's own: a foreign name may point here too (DNS rebinding).
pub fn is_local_host(request: &Parts) -> bool {
    let host = host(request);
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    LOCAL.contains(&name)
}

/// Refuses a request that a page of another origin makes.
///
/// # Errors
/// 403 with the reason.
pub fn same_origin(request: &Parts) -> Result<(), Response> {
    let headers = &request.headers;
    let foreign = match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
        Some(Ok(origin)) => origin.split_once("://").map(|(_, host)| host) != Some(host(request)),
        Some(Err(_)) => true,
        None => is_foreign_fetch(headers, &request.method),
    };
    if foreign {
        return Err(problem(
            StatusCode::FORBIDDEN,
            "this request comes from a page of another origin",
        ));
    }
    Ok(())
}

/// Browsers say so themselves where they send no Origin; a link that somebody follows is no harm.
fn is_foreign_fetch(headers: &HeaderMap, method: &Method) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let is_foreign = text("sec-fetch-site") == "cross-site";
    is_foreign && !(text("sec-fetch-mode") == "navigate" && method == Method::GET)
}

fn host(request: &Parts) -> &str {
    let from_header = request
        .headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    from_header
        .or_else(|| request.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
}

/// Headers on every answer.
pub async fn headers(request: Request, next: Next) -> Response {
    const HEADERS: [(&str, &str); 5] = [
        (
            "content-security-policy",
            "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self'; connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=()",
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Parts {
        let builder = headers.iter().fold(
            Request::builder().method(method).uri("/"),
            |builder, (name, value)| builder.header(*name, *value),
        );
        builder
            .body(Body::empty())
            .expect("a valid request")
            .into_parts()
            .0
    }

    #[test]
    fn a_foreign_name_that_points_here_is_not_this_machine() {
        for (host, allowed) in [
            ("127.0.0.1:7878", true),
            ("localhost", true),
            ("[::1]:7878", true),
            ("evil.example:7878", false),
            ("127.0.0.1.evil.example", false),
        ] {
            assert_eq!(
                is_local_host(&request(Method::GET, &[("host", host)])),
                allowed,
                "{host}"
            );
        }
    }

    #[test]
    fn a_page_of_another_origin_cannot_ask() {
        let own = [
            ("host", "localhost:7878"),
            ("origin", "http://localhost:7878"),
        ];
        assert!(same_origin(&request(Method::POST, &own)).is_ok());
        let foreign = [
            ("host", "localhost:7878"),
            ("origin", "http://evil.example"),
        ];
        assert!(same_origin(&request(Method::POST, &foreign)).is_err());
        let opaque = [("host", "localhost:7878"), ("origin", "null")];
        assert!(same_origin(&request(Method::POST, &opaque)).is_err());
    }

    #[test]
    fn a_link_may_be_followed_and_a_program_sends_no_origin() {
        let link = [
            ("host", "localhost:7878"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert!(same_origin(&request(Method::GET, &link)).is_ok());
        let image = [
            ("host", "localhost:7878"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ];
        assert!(same_origin(&request(Method::GET, &image)).is_err());
        assert!(same_origin(&request(Method::POST, &[("host", "localhost:7878")])).is_ok());
    }
}
