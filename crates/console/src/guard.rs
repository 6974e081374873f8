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

/// Carries the name under which a request stands in the console's log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request a name of our own making, which services behind the door and the answer have too, and logs what failed
/// under it.
pub async fn name(mut request: Request, next: Next) -> Response {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let value = HeaderValue::from_str(&id).expect("hexadecimal digits");
    request.headers_mut().insert(REQUEST_ID, value.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    if status.is_server_error() {
        tracing::warn!(request.id = id, %method, path, status = status.as_u16(), "a request failed");
    } else if status.is_client_error() {
        tracing::info!(request.id = id, %method, path, status = status.as_u16(), "a request was refused");
    }
    response.headers_mut().insert(REQUEST_ID, value);
    response
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

    #[tokio::test]
    async fn every_answer_names_its_request_and_a_name_from_outside_counts_for_nothing() {
        let seen = |request: Request| {
            let name = request.headers().get(&REQUEST_ID).cloned();
            async move {
                (
                    StatusCode::NOT_FOUND,
                    name.map(|name| name.as_bytes().to_vec())
                        .unwrap_or_default(),
                )
            }
        };
        let router: axum::Router = axum::Router::new()
            .fallback(seen)
            .layer(axum::middleware::from_fn(name));
        let ask = async || {
            let request = Request::builder()
                .header(REQUEST_ID, "mine")
                .body(Body::empty())
                .expect("a valid request");
            let answer = tower::ServiceExt::oneshot(router.clone(), request)
                .await
                .expect("it cannot fail");
            let said = answer.headers()[REQUEST_ID].as_bytes().to_vec();
            let inside = axum::body::to_bytes(answer.into_body(), 64)
                .await
                .expect("a short body");
            assert_eq!(said, inside, "the handler has the name that the answer has");
            said
        };
        let (first, second) = (ask().await, ask().await);
        assert_eq!(first.len(), 16);
        assert_ne!(first, b"mine");
        assert_ne!(first, second);
    }

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
