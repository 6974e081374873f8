//! Passes a request on to a service inside the cluster, as the person who asks: the console's own token
//! proves that the door speaks, a header names the person. Bodies stream both ways.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;

use crate::Config;
use crate::identity::{Person, problem};

/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A service behind the door.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// `name.namespace`.
    pub host: &'static str,
    /// Its port.
    pub port: u16,
    /// What people call it.
    pub title: &'static str,
}

/// The pipelines API.
pub const PIPELINES: Service = Service {
    host: "ml-pipeline.kubeflow",
    port: 8888,
    title: "Kubeflow Pipelines",
};

/// Sends `request` to `service` under `path` and streams the answer back.
pub async fn pass(
    config: Arc<Config>,
    service: Service,
    person: &Person,
    mut request: Request,
    path: &str,
) -> Response {
    let target: Result<PathAndQuery, _> = path.parse();
    let Ok(target) = target else {
        return problem(StatusCode::BAD_REQUEST, "the path is not a valid one");
    };
    *request.uri_mut() = Uri::from(target);
    if let Err(response) = dress(&config, service, person, request.headers_mut()).await {
        return response;
    }
    match send(&config, service, request).await {
        Ok(mut response) => {
            strip(response.headers_mut());
            response.map(Body::new).into_response()
        }
        Err(cause) => {
            tracing::warn!(service = service.host, cause, "a service does not answer");
            let message = format!(
                "{} does not answer ({cause}); see: kubectl get pods -n kubeflow",
                service.title
            );
            problem(StatusCode::BAD_GATEWAY, &message)
        }
    }
}

async fn send(
    config: &Config,
    service: Service,
    request: Request,
) -> Result<hyper::Response<hyper::body::Incoming>, String> {
    let stream = (config.dial)(service.host.to_owned(), service.port)
        .await
        .map_err(|error| objects::chain(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

async fn dress(
    config: &Config,
    service: Service,
    person: &Person,
    headers: &mut HeaderMap,
) -> Result<(), Response> {
    strip(headers);
    for name in [header::COOKIE, header::ORIGIN, header::HOST] {
        headers.remove(name);
    }
    let token = tokio::fs::read_to_string(&config.token_file).await.map_err(|error| {
        tracing::error!(%error, file = %config.token_file.display(), "the console's own token cannot be read");
        problem(StatusCode::SERVICE_UNAVAILABLE, "the console has no token of its own yet; try again")
    })?;
    let value = |text: String| {
        HeaderValue::from_str(&text).map_err(|_| {
            problem(
                StatusCode::BAD_REQUEST,
                "the user's name cannot be a header",
            )
        })
    };
    headers.insert(
        header::AUTHORIZATION,
        value(format!("Bearer {}", token.trim()))?,
    );
    for name in ["kubeflow-userid", "x-remote-user"] {
        headers.insert(HeaderName::from_static(name), value(person.user.clone())?);
    }
    headers.insert(
        header::HOST,
        value(format!("{}:{}", service.host, service.port))?,
    );
    Ok(())
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
