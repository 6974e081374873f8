//! The Kubernetes API as the person who signed in: `/api/k8s/<path>` is `<path>` there, by impersonation.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Builder;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::identity::{Person, problem};
use crate::router::Door;

const PREFIX: &str = "/api/k8s";
/// Request bodies larger than what the API server takes are refused here already.
const BODY_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// Passes the request on; the answer streams, so that watches work.
pub async fn pass(State(door): State<Door>, person: Person, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map(|path| path.as_str())
        .unwrap_or_default();
    let path = path.strip_prefix(PREFIX).unwrap_or(path).to_owned();
    let body = match http_body_util::Limited::new(body, BODY_LIMIT_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than 3 MiB",
            );
        }
    };
    let mut builder = Request::builder().method(parts.method).uri(path);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            builder = builder.header(name, value);
        }
    }
    match send(&door, &person, builder, body.to_vec()).await {
        Ok(response) => response,
        Err(error) => error,
    }
}

/// Sends a request as `person`; the answer's body streams.
pub async fn send(
    door: &Door,
    person: &Person,
    builder: Builder,
    body: Vec<u8>,
) -> Result<Response, Response> {
    let user = HeaderValue::from_str(&person.user).map_err(|_| {
        problem(
            StatusCode::BAD_REQUEST,
            "the user's name cannot be a header",
        )
    })?;
    let request = builder
        .header("impersonate-user", user)
        .body(kube::client::Body::from(body))
        .map_err(|_| problem(StatusCode::BAD_REQUEST, "the path is not a valid one"))?;
    let response = door.config.client.send(request).await.map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the API server does not answer"
        );
        problem(StatusCode::BAD_GATEWAY, "the API server does not answer")
    })?;
    Ok(response.map(Body::new).into_response())
}
