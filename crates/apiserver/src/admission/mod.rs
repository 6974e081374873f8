//! What a write must pass between decoding and the store, and what it gains on the way.
//!
//! Two passes around validation: [`Admission::mutate`] fills in what depends on other objects,
//! [`Admission::validate`] only refuses. **The order of the steps is written in these two functions
//! and nowhere else**, with the reason of each place. Steps see other objects through `Lookup` and
//! keep no state.

mod built_in;
mod default_storage_class;
mod default_tolerations;
mod escalation;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
#[cfg(test)]
mod test_review;

use std::sync::Arc;

use objects::Status;
use serde_json::Value;

use crate::authn::User;
use crate::authz::Authorizer;
use crate::lookup::Lookup;

pub use built_in::BUILT_IN;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object, or a new object of a subresource such as `binding` or `token`.
    Create,
    /// Any change of an object, by update, patch or apply, of itself or of a subresource.
    Update,
    /// A deletion.
    Delete,
    /// A connection to a pod, node or Service.
    Connect,
}

/// One write under review.
pub struct Review<'a> {
    /// What is being done.
    pub operation: Operation,
    /// By whom (after impersonation).
    pub user: &'a User,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The kind of the resource (not of the subresource).
    pub kind: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// The subresource; empty for none.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name; empty while it is still to be generated.
    pub name: &'a str,
    /// The object as it would be stored, or the posted object of a subresource; `Null` for deletions.
    pub object: &'a mut Value,
    /// The object as it is, for updates and deletions.
    pub old: Option<&'a Value>,
    /// Nothing will be stored.
    pub is_dry_run: bool,
    /// What the client should be told in `Warning` headers.
    pub warnings: Vec<String>,
}

impl Review<'_> {
    /// Whether this is a write of such an object itself.
    fn is(&self, operation: Operation, group: &str, resource: &str) -> bool {
        self.operation == operation
            && self.group == group
            && self.resource == resource
            && self.subresource.is_empty()
    }

    /// A refusal in the words of Kubernetes: `pods "x" is forbidden: why`.
    fn forbid(&self, why: &str) -> Status {
        let name = if self.name.is_empty() {
            objects::meta::name(self.object)
        } else {
            self.name
        };
        Status::forbidden(self.group, self.resource, name, why)
    }
}

/// What admission is told at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespaces in which the installer may mark Deployments as built in.
    pub installer_namespaces: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            installer_namespaces: vec!["kubeflow".into(), "istio-system".into()],
        }
    }
}

/// The chain.
pub struct Admission {
    installer_namespaces: Vec<String>,
    authorizer: Arc<Authorizer>,
}

impl Admission {
    /// A chain that asks `authorizer` where permission depends on what is written.
    pub fn new(config: Config, authorizer: Arc<Authorizer>) -> Self {
        Self {
            installer_namespaces: config.installer_namespaces,
            authorizer,
        }
    }

    /// Fills in and changes the object. After defaulting, before pruning and validation.
    pub fn mutate(&self, review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
        // First: in a namespace that is gone or going, nothing else matters.
        namespace_lifecycle::admit(review, lookup)?;
        // Before anything is added to a pod: it compares the pod with the template it was made from.
        built_in::admit(review, lookup, &self.installer_namespaces)?;
        // Adds volumes and mounts, which later steps and validation must see.
        service_account::admit(review, lookup)?;
        // Before quota, which counts what both fill in.
        runtime_class::admit(review, lookup)?;
        limit_ranger::fill(review, lookup);
        priority::admit(review, lookup)?;
        default_tolerations::admit(review);
        default_storage_class::admit(review, lookup);
        // Here come pod defaults, then mutating policies and webhooks: they see the object as all of the above left it.
        // Addresses of Services are handed out after all of this, where the write is stored.
        Ok(())
    }

    /// Refuses what may not be, or warns. After validation, before the store; the object stays as it is.
    pub fn validate(&self, review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
        // Who may write what comes before what the write costs.
        node_restriction::validate(review, lookup)?;
        escalation::validate(review, lookup, &self.authorizer)?;
        built_in::validate(review)?;
        pod_security::validate(review, lookup)?;
        runtime_class::validate(review, lookup)?;
        limit_ranger::validate(review, lookup)?;
        // Here come validating policies and webhooks.
        // Last: what was refused for another reason must not count.
        resource_quota::validate(review, lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::test_review::Write;
    use super::*;
    use crate::authz::Rbac;
    use crate::lookup::Fixed;
    use serde_json::json;

    fn objects() -> Fixed {
        Fixed::default()
            .with("", "namespaces", json!({"metadata": {"name": "dev"}}))
            .with(
                "",
                "serviceaccounts",
                json!({"metadata": {"name": "default", "namespace": "dev"}}),
            )
    }

    fn chain() -> Admission {
        let authorizer = Authorizer::new(Rbac::default(), Arc::new(objects()));
        Admission::new(Config::default(), Arc::new(authorizer))
    }

    #[test]
    fn an_ordinary_pod_leaves_the_chain_complete_and_valid() {
        let rules = crate::kinds::strategy("", "Pod");
        let mut pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
        rules.default(&mut pod);
        let mut write = Write::create("", "pods", pod);
        write
            .pass(|review| chain().mutate(review, &objects()))
            .unwrap();
        write
            .pass(|review| chain().validate(review, &objects()))
            .unwrap();
        assert_eq!(rules.validate_create(&write.object), []);
        let spec = &write.object["spec"];
        assert_eq!(
            (&spec["priority"], &spec["serviceAccountName"]),
            (&json!(0), &json!("default"))
        );
        assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_limits_add_counts_against_the_quota() {
        let objects = objects()
            .with("", "limitranges", json!({"metadata": {"name": "l", "namespace": "dev"}, "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "2"}}]}}))
            .with("", "resourcequotas", json!({"metadata": {"name": "q", "namespace": "dev"}, "spec": {"hard": {"requests.cpu": "1"}}}));
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
        let mut write = Write::create("", "pods", pod);
        write
            .pass(|review| chain().mutate(review, &objects))
            .unwrap();
        let status = write
            .pass(|review| chain().validate(review, &objects))
            .unwrap_err();
        assert!(
            status
                .message
                .contains("exceeded quota: q, requested: requests.cpu=2"),
            "{}",
            status.message
        );
    }

    #[test]
    fn a_role_beyond_ones_own_rights_is_refused() {
        let role = json!({"metadata": {"name": "r", "namespace": "dev"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]});
        let mut write = Write::create("rbac.authorization.k8s.io", "roles", role);
        assert_eq!(
            write
                .pass(|review| chain().validate(review, &objects()))
                .unwrap_err()
                .code,
            403
        );
    }
}
