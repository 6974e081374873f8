//! Users and the names that mean something to us.

use std::collections::BTreeMap;

/// The group of every user that authenticated.
pub const ALL_AUTHENTICATED: &str = "system:authenticated";
/// The group that may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";
/// The one identity that may mark Deployments as built in. It can be neither impersonated nor
/// named by a certificate or service account; its token is made at start and kept in memory.
pub const INSTALLER: &str = "system:ferroflow:installer";

/// Names under this prefix belong to this program itself.
const RESERVED_PREFIX: &str = "system:ferroflow:";

/// Whether a user or group name may only come from this program itself.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

/// Somebody who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The unique name.
    pub name: String,
    /// A value that tells two bearers of one name apart in time; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// An authenticated user in `groups`.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        if !groups.iter().any(|group| group == ALL_AUTHENTICATED) {
            groups.push(ALL_AUTHENTICATED.to_owned());
        }
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The owner of this installation.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// The installer, see [`INSTALLER`].
    pub fn installer() -> Self {
        Self::new(INSTALLER, &[MASTERS])
    }

    /// The node of that name.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), &["system:nodes"])
    }

    /// The controllers that are not given accounts of their own.
    pub fn controller_manager() -> Self {
        Self::new("system:kube-controller-manager", &[])
    }

    /// The scheduler.
    pub fn scheduler() -> Self {
        Self::new("system:kube-scheduler", &[])
    }

    /// A service account, as its tokens and as impersonation know it.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let namespace_group = format!("system:serviceaccounts:{namespace}");
        Self::new(
            format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &namespace_group],
        )
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Namespace and name, if this is a service account.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        self.name
            .strip_prefix("system:serviceaccount:")?
            .split_once(':')
    }

    /// The node's name, if this is a node.
    pub fn as_node(&self) -> Option<&str> {
        let node = self.name.strip_prefix("system:node:")?;
        (self.is_in("system:nodes") && !node.is_empty()).then_some(node)
    }
}
