//! The one mapping from what went wrong inside to the `Status` a client reads.

use std::ops::{Deref, DerefMut};

use objects::{Status, chain};

use crate::registry::Resource;
use crate::store;

/// A failed request; boxed because results travel through every verb.
#[derive(Clone, Debug)]
pub struct ApiError(pub Box<Status>);

impl Deref for ApiError {
    type Target = Status;

    fn deref(&self) -> &Status {
        &self.0
    }
}

impl DerefMut for ApiError {
    fn deref_mut(&mut self) -> &mut Status {
        &mut self.0
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

impl ApiError {
    /// 400 with a message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Status::bad_request(message).into()
    }

    /// 413 with the limit in words.
    pub fn too_large(message: impl AsRef<str>) -> Self {
        Status::too_large(message.as_ref()).into()
    }

    /// 500; the one place where such a failure is logged.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(error = %what, "request failed inside the API server");
        Status::internal(what).into()
    }

    /// 404 for a path that nothing serves.
    pub fn no_such_resource() -> Self {
        Status::no_such_resource().into()
    }

    /// A store error about an object of `resource`.
    pub fn of_store(err: store::Error, resource: &Resource, name: &str) -> Self {
        let (group, plural) = (resource.group.as_str(), resource.plural.as_str());
        match err {
            store::Error::Exists { .. } => Status::already_exists(group, plural, name).into(),
            store::Error::NotFound { .. } => Status::not_found(group, plural, name).into(),
            store::Error::Conflict { .. } => {
                Status::conflict(group, plural, name, objects::status::MODIFIED).into()
            }
            store::Error::Expired { revision, oldest } => {
                Status::too_old_resource_version(revision, oldest).into()
            }
            store::Error::Closed => Status::unavailable("the API server is shutting down").into(),
            store::Error::Database(_) | store::Error::Open { .. } | store::Error::Thread(_) => {
                Self::internal(chain(&err))
            }
        }
    }
}

impl From<store::Error> for ApiError {
    /// For store errors that are about no object in particular; verbs use [`ApiError::of_store`].
    fn from(err: store::Error) -> Self {
        match err {
            store::Error::Exists { key } => Status::already_exists("", "objects", &key).into(),
            store::Error::NotFound { key } => Status::not_found("", "objects", &key).into(),
            store::Error::Conflict { key } => {
                Status::conflict("", "objects", &key, objects::status::MODIFIED).into()
            }
            store::Error::Expired { revision, oldest } => {
                Status::too_old_resource_version(revision, oldest).into()
            }
            store::Error::Closed => Status::unavailable("the API server is shutting down").into(),
            store::Error::Database(_) | store::Error::Open { .. } | store::Error::Thread(_) => {
                Self::internal(chain(&err))
            }
        }
    }
}
