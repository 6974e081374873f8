//! One request on a resource, with everything a verb may ask about it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use objects::{FieldError, Status};
use serde_json::Value;

use crate::api::Api;
use crate::authn::User;
use crate::error::ApiError;
use crate::http::accept::Accept;
use crate::http::body::{self, Decoded};
use crate::http::protobuf;
use crate::http::query::Query;
use crate::registry::{Registry, Resource};

/// What to do about fields that no schema knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and say so.
    Warn,
    /// Refuse.
    Strict,
}

/// A request on a resource.
#[derive(Debug)]
pub struct Call {
    /// The server.
    pub api: Arc<Api>,
    /// Who asks.
    pub user: User,
    /// The resources that existed when the request came in.
    pub registry: Arc<Registry>,
    /// What is asked about.
    pub resource: Arc<Resource>,
    /// `get`, `list`, …
    pub verb: &'static str,
    /// Namespace, or empty for all of them or for cluster scope.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Parameters.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// The wanted form of the answer.
    pub accept: Accept,
    /// The body.
    pub body: Bytes,
    /// Sent back as `Warning` headers.
    pub warnings: Mutex<Vec<String>>,
}

impl Call {
    /// The storage key of the object named by the path.
    pub fn key(&self) -> String {
        self.resource.key(&self.namespace, &self.name)
    }

    /// Tells the client something that is not an error.
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings
            .lock()
            .expect("no holder of this lock panics")
            .push(text.into());
    }

    /// Whether nothing may be stored.
    pub fn is_dry_run(&self) -> Result<bool, ApiError> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(self.invalid_options(vec![FieldError::not_supported_list(
                "dryRun",
                &[other],
                &["All"],
            )])),
        }
    }

    /// How strict the client wants us to be.
    pub fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(self.invalid_options(vec![FieldError::not_supported(
                "fieldValidation",
                other,
                &["", "Ignore", "Strict", "Warn"],
            )])),
        }
    }

    /// 422 about the request's own options.
    pub fn invalid_options(&self, errors: Vec<FieldError>) -> ApiError {
        let kind = match self.verb {
            "create" => "CreateOptions",
            "patch" => "PatchOptions",
            "delete" | "deletecollection" => "DeleteOptions",
            _ => "UpdateOptions",
        };
        Status::invalid("meta.k8s.io", kind, "", errors).into()
    }

    /// Who manages the fields that this request writes.
    pub fn manager(&self) -> Result<String, ApiError> {
        super::manager::name(&self.query, &self.headers)
            .map_err(|error| self.invalid_options(vec![error]))
    }

    /// The body, decoded by its media type.
    pub fn decode(&self) -> Result<Decoded, ApiError> {
        let media = body::media_type(&self.headers);
        if !matches!(
            media,
            "application/json"
                | "application/yaml"
                | "application/x-yaml"
                | "text/yaml"
                | protobuf::MEDIA_TYPE
        ) {
            return Err(Status::unsupported_media_type(&body::ACCEPTED).into());
        }
        if self.body.is_empty() {
            return Err(ApiError::bad_request(
                "the request has no body; send the object as JSON or YAML",
            ));
        }
        body::decode(&self.body, media)
    }

    /// 404 for the object named by the path.
    pub fn not_found(&self) -> ApiError {
        Status::not_found(&self.resource.group, &self.resource.plural, &self.name).into()
    }

    /// 405.
    pub fn unsupported(&self) -> ApiError {
        Status::method_not_allowed().into()
    }

    /// 422 about the object of this request.
    pub fn invalid(&self, name: &str, errors: Vec<FieldError>) -> ApiError {
        Status::invalid(&self.resource.group, &self.resource.kind, name, errors).into()
    }

    /// 409 for a lost race or a failed precondition.
    pub fn conflict(&self, name: &str, why: &str) -> ApiError {
        Status::conflict(&self.resource.group, &self.resource.plural, name, why).into()
    }

    /// The decoded object that the path names, from the latest snapshot.
    pub fn current(&self) -> Result<Value, ApiError> {
        let snapshot = self.api.store.snapshot();
        let entry = snapshot
            .get(self.resource.stored().id, &self.key())
            .ok_or_else(|| self.not_found())?;
        Ok(self.resource.value(entry))
    }
}
