//! Kubernetes verbs, each written once and generic over the [`Resource`] record.

pub mod call;
pub mod create;
pub mod delete;
pub mod deletecollection;
pub mod get;
mod keep;
pub mod list;
mod manager;
mod pages;
pub mod patch;
pub mod selection;
pub mod update;
pub mod watch;
pub mod write;

pub use call::Call;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::error::ApiError;
use crate::registry::Resource;
use crate::store::Entry;

/// What a verb answers, before it is put into the form that was asked for.
#[derive(Debug)]
pub enum Reply {
    /// One object in the version asked for, serialised.
    Object {
        /// 200, 201 or 202.
        code: StatusCode,
        /// Whose columns a table has.
        resource: Arc<Resource>,
        /// The object.
        bytes: Bytes,
    },
    /// A list.
    List(ListReply),
    /// Anything that has one form only.
    Value(StatusCode, Value),
    /// A finished response: streams, proxied answers.
    Response(Box<axum::response::Response>),
}

/// A page of a list.
#[derive(Debug)]
pub struct ListReply {
    /// What is listed.
    pub resource: Arc<Resource>,
    /// The objects.
    pub entries: Vec<Arc<Entry>>,
    /// The revision of the page.
    pub revision: u64,
    /// Where the next page begins.
    pub next: Option<String>,
    /// How many objects are on later pages, where that is known.
    pub remaining: Option<u64>,
}

impl Reply {
    /// An object that was read or written.
    pub fn object(code: StatusCode, resource: &Arc<Resource>, bytes: Bytes) -> Self {
        Self::Object {
            code,
            resource: resource.clone(),
            bytes,
        }
    }

    /// An object that is not stored as it is answered (a dry run, a subresource).
    pub fn value(code: StatusCode, resource: &Arc<Resource>, value: &Value) -> Self {
        Self::object(
            code,
            resource,
            serde_json::to_vec(value)
                .expect("a JSON value always serialises")
                .into(),
        )
    }
}

/// Runs the verb of a request on a stored resource without subresource.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    match call.verb {
        "get" => get::run(call).await,
        "list" => list::run(call).await,
        "watch" => watch::run(call).await,
        "create" => create::run(call).await,
        "update" => update::run(call).await,
        "patch" => patch::run(call).await,
        "delete" => delete::run(call).await,
        "deletecollection" => deletecollection::run(call).await,
        _ => Err(call.unsupported()),
    }
}
