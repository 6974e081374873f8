//! A write under review, for the tests of the steps: by an ordinary user, of a new object, unless said otherwise.

use objects::meta;
use serde_json::Value;

use super::{Operation, Review};
use crate::authn::User;

pub(super) struct Write {
    pub user: User,
    pub operation: Operation,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub object: Value,
    pub old: Option<Value>,
    pub warnings: Vec<String>,
}

impl Write {
    pub(super) fn create(group: &'static str, resource: &'static str, object: Value) -> Self {
        Self {
            user: User::new("ann", &[]),
            operation: Operation::Create,
            group,
            resource,
            subresource: "",
            object,
            old: None,
            warnings: Vec::new(),
        }
    }

    pub(super) fn update(
        group: &'static str,
        resource: &'static str,
        old: &Value,
        object: Value,
    ) -> Self {
        Self {
            operation: Operation::Update,
            old: Some(old.clone()),
            ..Self::create(group, resource, object)
        }
    }

    pub(super) fn by(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    pub(super) fn of(mut self, subresource: &'static str) -> Self {
        self.subresource = subresource;
        self
    }

    /// Runs a step over the write.
    pub(super) fn pass<T>(&mut self, step: impl FnOnce(&mut Review<'_>) -> T) -> T {
        let about = if self.object.is_null() {
            self.old.clone().unwrap_or_default()
        } else {
            self.object.clone()
        };
        let mut review = Review {
            operation: self.operation,
            user: &self.user,
            group: self.group,
            kind: match self.resource {
                "deployments" => "Deployment",
                "replicasets" => "ReplicaSet",
                "pods" => "Pod",
                other => other,
            },
            resource: self.resource,
            subresource: self.subresource,
            namespace: meta::namespace(&about),
            name: meta::name(&about),
            object: &mut self.object,
            old: self.old.as_ref(),
            is_dry_run: false,
            warnings: Vec::new(),
        };
        let result = step(&mut review);
        self.warnings = review.warnings;
        result
    }
}
