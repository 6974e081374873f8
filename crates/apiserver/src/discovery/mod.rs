//! Everything under no resource: which groups and resources there are, their schemas, version, health, metrics.

mod aggregated;
mod groups;
pub mod openapi;
mod openapi_v2;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::api::Api;
use crate::error::ApiError;
use crate::http::accept::Accept;
use crate::http::query::Query;
use crate::http::reply;

pub use openapi::Documents;

/// The Kubernetes version that this server speaks.
pub const GIT_VERSION: &str = "v1.33.13+ferroflow";

/// Answers a request for no resource.
pub async fn answer(
    api: &Arc<Api>,
    head: &http::request::Parts,
    path: &str,
    query: &Query,
) -> Response {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return reply::error(&objects::Status::method_not_allowed().into());
    }
    let headers = &head.headers;
    let registry = api.registry.load_full();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => plain(&json!({"paths": groups::paths(&registry)}), headers).await,
        ["api"] | ["apis"] if aggregated::is_asked(headers).is_some() => {
            let version = aggregated::is_asked(headers).unwrap_or("v2");
            let document = aggregated::groups(&registry, parts[0] == "api", version);
            let media = format!(
                "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            );
            tagged(&document, &media, headers).await
        }
        ["api"] => plain(&groups::core_versions(), headers).await,
        ["apis"] => plain(&groups::groups(&registry), headers).await,
        ["apis", group] => match groups::group(&registry, group) {
            Some(document) => plain(&document, headers).await,
            None => missing(),
        },
        ["api", version] => resources(&registry, "", version, headers).await,
        ["apis", group, version] => resources(&registry, group, version, headers).await,
        ["version"] => plain(&version(), headers).await,
        ["healthz" | "livez" | "readyz", check @ ..] => health(api, parts[0], check, query),
        ["metrics"] => text(StatusCode::OK, api.metrics.text()),
        ["openapi", "v2"] => openapi_v2::answer(api, &registry, headers).await,
        ["openapi", "v3", rest @ ..] => openapi::answer(api, &registry, rest, query, headers).await,
        [".well-known", "openid-configuration"] => {
            plain(
                &api.authenticator
                    .signer()
                    .discovery("https://kubernetes.default.svc"),
                headers,
            )
            .await
        }
        ["openid", "v1", "jwks"] => plain(&api.authenticator.signer().key_set(), headers).await,
        _ => missing(),
    }
}

fn missing() -> Response {
    reply::no_such_page()
}

async fn resources(
    registry: &crate::registry::Registry,
    group: &str,
    version: &str,
    headers: &HeaderMap,
) -> Response {
    match groups::resources(registry, group, version) {
        Some(document) => plain(&document, headers).await,
        // A group that is there answers for its versions.
        None if group.is_empty() || groups::group(registry, group).is_some() => {
            reply::error(&ApiError::no_such_resource())
        }
        None => missing(),
    }
}

/// A document in JSON or YAML.
async fn plain(document: &Value, headers: &HeaderMap) -> Response {
    match Accept::of(headers, false) {
        Some(accept) => reply::json(StatusCode::OK, document, &accept, headers).await,
        None => reply::not_acceptable(),
    }
}

/// A document that clients keep: with a hash of its content, and nothing when they already have it.
async fn tagged(document: &Value, media: &str, headers: &HeaderMap) -> Response {
    let bytes: Bytes = serde_json::to_vec(document)
        .expect("a JSON value always serialises")
        .into();
    let tag = format!("\"{}\"", openapi::hash(&bytes));
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let mut response = reply::sized(StatusCode::OK, media, bytes, headers).await;
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn text(code: StatusCode, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = code;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "33",
        "emulationMajor": "1",
        "emulationMinor": "33",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "32",
        "gitVersion": GIT_VERSION,
        "gitCommit": env!("CARGO_PKG_VERSION"),
        "gitTreeState": "clean",
        "buildDate": "2026-11-24T00:00:00Z",
        "goVersion": "none (Rust)",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn health(api: &Api, endpoint: &str, check: &[&str], query: &Query) -> Response {
    let checks = ["ping", "log", "etcd"];
    if let [name] = check
        && !checks.contains(name)
    {
        return missing();
    }
    if endpoint == "readyz" && (api.shutdown.is_cancelled() || !api.is_ready()) {
        return text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "[-]the server is starting or stopping\n".into(),
        );
    }
    if query.flag("verbose") {
        let mut lines: String = checks
            .iter()
            .map(|check| format!("[+]{check} ok\n"))
            .collect();
        lines.push_str(&format!("{endpoint} check passed\n"));
        return text(StatusCode::OK, lines);
    }
    text(StatusCode::OK, "ok".into())
}
