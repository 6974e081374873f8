//! The REST API v2beta1 of Kubeflow Pipelines (wire: 2.17), the task and artifact API beside it, the routes that the old UI
//! server had, and our own event streams. One endpoint per file; all routes in `router.rs`.

use std::sync::Arc;

use artifacts::Stores;
use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserialize;

use crate::engine::Engine;
use crate::store::Store;
use crate::store::list;

pub mod absent;
pub mod artifacts_api;
pub mod auth;
pub mod caller;
pub mod error;
pub mod experiments;
pub mod healthz;
pub mod json;
pub mod openapi;
pub mod pipelines;
pub mod router;
pub mod runs;
pub mod step;
pub mod ui;

pub use caller::{AUDIENCE, AccessPolicy, BoundPod, Caller, TOKEN_HEADER};
pub use error::{ApiError, Code};
pub use router::router;

/// What every endpoint works with.
pub struct Api {
    /// Runs and everything that hangs on them.
    pub store: Arc<Store>,
    /// The run engine.
    pub engine: Engine,
    /// Objects.
    pub stores: Stores,
    /// Who may call.
    pub access: AccessPolicy,
    /// Where steps run, and against which access is judged.
    pub namespace: String,
    /// Service account of steps that name none; naming another takes the right to make pods.
    pub service_account: String,
    /// For live logs; without it only stored ones are read.
    pub client: Option<kube::Client>,
    /// Packages may be fetched from private addresses too.
    pub allows_private_urls: bool,
    /// Steps that were seen to run.
    pub steps: step::Running,
}

/// How endpoints get at it.
pub type Shared = Arc<Api>;

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        api.access.caller(parts).await
    }
}

impl Api {
    /// Refuses who may not make pods where steps run.
    pub async fn authorise_pods(&self, caller: &Caller) -> Result<(), ApiError> {
        self.access.authorise_pods(caller, &self.namespace).await
    }

    /// Refuses what the caller may not do to a kind of thing.
    pub async fn authorise(
        &self,
        caller: &Caller,
        verb: &str,
        resource: &str,
    ) -> Result<(), ApiError> {
        self.access
            .authorise(caller, verb, resource, &self.namespace)
            .await
    }
}

/// Query of every list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    page_token: String,
    page_size: Option<String>,
    sort_by: String,
    filter: String,
    experiment_id: String,
    run_id: String,
    task_id: String,
    artifact_id: String,
}

impl ListQuery {
    fn request(&self) -> Result<list::Request, ApiError> {
        let page_size = match self.page_size.as_deref() {
            None | Some("") => 0,
            Some(text) => text.parse().map_err(|_| {
                ApiError::invalid(format!("page_size must be a number, is {text:?}"))
            })?,
        };
        Ok(list::Request {
            page_token: self.page_token.clone(),
            page_size,
            sort_by: self.sort_by.clone(),
            filter: self.filter.clone(),
        })
    }
}

/// One filled-in list: items under a key, total and the way on.
fn list_answer(
    key: &str,
    items: Vec<serde_json::Value>,
    total: i64,
    next_page_token: &str,
) -> serde_json::Value {
    json::Object::default()
        .value(key, items)
        .value("total_size", total)
        .text("next_page_token", next_page_token)
        .build()
}

/// A JSON answer made of ready text.
fn ready_json(text: String) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    ([(http::header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// `id:verb` → (id, verb); without a colon the verb is empty.
fn split_verb(segment: &str) -> (&str, &str) {
    segment.split_once(':').unwrap_or((segment, ""))
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Refuses names that are too long for what they name.
fn check_length(what: &str, name: &str, limit: usize) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid(format!("{what} is required")));
    }
    let length = name.chars().count();
    if length > limit {
        Err(ApiError::invalid(format!(
            "{what} may have at most {limit} characters, has {length}"
        )))
    } else {
        Ok(())
    }
}

fn empty() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({}))
}
