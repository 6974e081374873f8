//! From a request to a person: the owner of this machine, a bearer token, or a signed session. Nobody else
//! comes in. What a client claims to be by a header is removed before anyone can read it.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;
use schemars::JsonSchema;
use serde::Serialize;

use crate::guard;
use crate::peer::Connection;
use crate::router::Door;
use crate::session::Purpose;

/// The session cookie.
pub const COOKIE: &str = "ferroflow_session";

/// Headers by which services behind the door are told who asks; only the door sets them.
pub const USER_HEADERS: [&str; 4] = [
    "kubeflow-userid",
    "kubeflow-groups",
    "x-remote-user",
    "x-remote-group",
];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Person {
    /// The user's name, as RBAC knows it.
    pub user: String,
    /// How that is known.
    pub by: Proof,
}

/// How a person is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The connection is held by the user who owns this process.
    Owner,
    /// A bearer token that the API server vouches for.
    Token,
    /// A session cookie.
    Session,
}

impl<S: Send + Sync> FromRequestParts<S> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(refusal)
    }
}

/// Finds the person and puts it into the request's extensions; removes what clients may not claim.
pub async fn layer(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    for name in USER_HEADERS {
        parts.headers.remove(name);
    }
    match find(&door, &parts).await {
        Ok(Some(person)) => {
            parts.extensions.insert(person);
        }
        Ok(None) => {}
        Err(response) => return response,
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn find(door: &Door, request: &Parts) -> Result<Option<Person>, Response> {
    let headers = &request.headers;
    if let Some(token) = bearer(headers) {
        // A wrong token is an error, never a reason to look further.
        let user = review(door, token).await?;
        return Ok(Some(Person {
            user,
            by: Proof::Token,
        }));
    }
    if let Some(session) = cookie(headers, COOKIE)
        && let Some(claim) = door.key.verify(session, Purpose::Session, Timestamp::now())
    {
        guard::same_origin(request)?;
        return Ok(Some(Person {
            user: claim.user,
            by: Proof::Session,
        }));
    }
    let connection = request.extensions.get::<Connection>().copied();
    if let (Some(owner), Some(connection)) = (&door.config.owner, connection)
        && tokio::task::spawn_blocking(move || connection.is_owner())
            .await
            .unwrap_or(false)
    {
        // Under a foreign name the owner is nobody in particular, and signs in like everyone else.
        if !guard::is_local_host(request) {
            return Ok(None);
        }
        guard::same_origin(request)?;
        return Ok(Some(Person {
            user: owner.clone(),
            by: Proof::Owner,
        }));
    }
    Ok(None)
}

async fn review(door: &Door, token: &str) -> Result<String, Response> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = Api::<TokenReview>::all(door.config.client.clone())
        .create(&PostParams::default(), &review)
        .await;
    match answer {
        Ok(answer) => {
            let status = answer.status.unwrap_or_default();
            match (
                status.authenticated,
                status.user.and_then(|user| user.username),
            ) {
                (Some(true), Some(user)) => Ok(user),
                _ => Err(refusal()),
            }
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "reviewing a token failed"
            );
            Err(problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server cannot be asked who this is; try again",
            ))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    objects::bearer_token(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// The value of one cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// What somebody unknown hears.
pub fn refusal() -> Response {
    problem(
        StatusCode::UNAUTHORIZED,
        "sign in first: run `kfctl login` and open the address that it prints, or send a bearer token",
    )
}

/// An error in the form that every client of the platform reads: the pipelines API's.
pub fn problem(status: StatusCode, message: &str) -> Response {
    let code = match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 5,
        StatusCode::NOT_IMPLEMENTED => 12,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => 14,
        StatusCode::BAD_REQUEST => 3,
        _ => 13,
    };
    (status, Json(serde_json::json!({ "code": code, "error": message, "message": message, "details": [] }))).into_response()
}
