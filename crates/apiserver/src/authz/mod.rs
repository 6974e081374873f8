//! Who may do what.
//!
//! Three authorisers are asked in order and the first that allows wins: the masters' group, the node
//! rules, then RBAC; nothing ever denies what another would allow. They decide on values and an index
//! that is replaced whole when roles or bindings change; keeping it current is the verbs' work.

mod aggregate;
pub mod bootstrap;
pub mod escalation;
mod node;
mod rbac;
mod rule;

use std::sync::Arc;

use arc_swap::ArcSwap;
use objects::Status;

use crate::authn::{MASTERS, User};
use crate::lookup::Lookup;

pub use aggregate::aggregated_rules;
pub use bootstrap::bootstrap;
pub use rbac::Rbac;
pub use rule::Rule;

/// The API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// What is asked for. A request is for a resource unless `resource` is empty; then it is for `path`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a special verb.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The API version.
    pub version: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// The subresource; empty for none.
    pub subresource: &'a str,
    /// The namespace; empty for cluster scope or all namespaces.
    pub namespace: &'a str,
    /// The object; empty for collections.
    pub name: &'a str,
    /// The path of a request that is not for a resource.
    pub path: &'a str,
    /// The field selector of a list, watch or deletecollection, as written.
    pub field_selector: &'a str,
}

impl Attributes<'_> {
    /// `pods` or `pods/log`, as rules name it.
    pub fn resource_with_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Whether this only reads.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch")
    }
}

/// An answer, with the reason that reviews and refusals show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// Why; may be empty.
    pub reason: String,
}

impl Decision {
    fn allow(reason: impl Into<String>) -> Self {
        Self {
            is_allowed: true,
            reason: reason.into(),
        }
    }

    fn no_opinion(reason: impl Into<String>) -> Self {
        Self {
            is_allowed: false,
            reason: reason.into(),
        }
    }
}

/// The authorisers in their order.
pub struct Authorizer {
    rbac: ArcSwap<Rbac>,
    lookup: Arc<dyn Lookup>,
}

impl Authorizer {
    /// An authoriser that starts with `rbac`; node rules read pods through `lookup`.
    pub fn new(rbac: Rbac, lookup: Arc<dyn Lookup>) -> Self {
        Self {
            rbac: ArcSwap::from_pointee(rbac),
            lookup,
        }
    }

    /// Puts a new index in place of the old one.
    pub fn replace(&self, rbac: Rbac) {
        self.rbac.store(Arc::new(rbac));
    }

    /// The index in use.
    pub fn rbac(&self) -> Arc<Rbac> {
        self.rbac.load_full()
    }

    /// Whether `user` may do what `attributes` say.
    pub fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::allow("");
        }
        let node = node::authorize(user, attributes, self.lookup.as_ref());
        if node.is_allowed {
            return node;
        }
        let rbac = self.rbac.load().authorize(user, attributes);
        if rbac.is_allowed || node.reason.is_empty() {
            return rbac;
        }
        node
    }

    /// Refuses with the words clients know unless `user` may.
    pub fn require(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
        let decision = self.authorize(user, attributes);
        if decision.is_allowed {
            Ok(())
        } else {
            Err(forbidden(user, attributes, &decision.reason))
        }
    }
}

/// The refusal, in the words of Kubernetes v1.33 `responsewriters.Forbidden`.
pub fn forbidden(user: &User, attributes: &Attributes<'_>, reason: &str) -> Status {
    let mut text = refusal(user, attributes);
    if !reason.is_empty() {
        text = format!("{text}: {reason}");
    }
    Status::forbidden(
        attributes.group,
        attributes.resource,
        attributes.name,
        &text,
    )
}

fn refusal(user: &User, attributes: &Attributes<'_>) -> String {
    let (name, verb) = (&user.name, attributes.verb);
    if attributes.resource.is_empty() {
        return format!("User {name:?} cannot {verb} path {:?}", attributes.path);
    }
    let place = if attributes.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", attributes.namespace)
    };
    format!(
        "User {name:?} cannot {verb} resource {:?} in API group {:?} {place}",
        attributes.resource_with_subresource(),
        attributes.group
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Fixed;

    fn message(attributes: Attributes<'_>) -> String {
        let nobody = Authorizer::new(Rbac::default(), Arc::new(Fixed::default()));
        nobody
            .require(&User::new("x", &[]), &attributes)
            .unwrap_err()
            .message
    }

    #[test]
    fn a_refusal_says_who_cannot_do_what_where() {
        let list = Attributes {
            verb: "list",
            resource: "pods",
            namespace: "default",
            ..Attributes::default()
        };
        assert_eq!(
            message(list),
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#
        );
        let get = Attributes {
            verb: "get",
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            name: "d",
            namespace: "ns",
            ..Attributes::default()
        };
        assert_eq!(
            message(get),
            r#"deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "ns""#
        );
        let nodes = Attributes {
            verb: "watch",
            resource: "nodes",
            ..Attributes::default()
        };
        assert_eq!(
            message(nodes),
            r#"nodes is forbidden: User "x" cannot watch resource "nodes" in API group "" at the cluster scope"#
        );
        let path = Attributes {
            verb: "get",
            path: "/metrics",
            ..Attributes::default()
        };
        assert_eq!(
            message(path),
            r#"forbidden: User "x" cannot get path "/metrics""#
        );
    }

    #[test]
    fn the_masters_may_do_everything() {
        let nobody = Authorizer::new(Rbac::default(), Arc::new(Fixed::default()));
        let delete = Attributes {
            verb: "deletecollection",
            resource: "secrets",
            ..Attributes::default()
        };
        assert!(nobody.authorize(&User::admin(), &delete).is_allowed);
    }
}
