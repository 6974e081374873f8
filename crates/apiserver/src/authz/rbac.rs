//! Roles and bindings as an index: from a subject to the rules it has, and where.
//!
//! The index is built whole from the four kinds and never changed afterwards. A binding to a role
//! that does not exist gives nothing, and says so in the reason of a refusal.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Decision, Rule, aggregated_rules};
use crate::authn::User;

/// Who a binding is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

/// A role given to a subject.
#[derive(Debug, Clone)]
struct Grant {
    /// Where it holds; none for everywhere.
    namespace: Option<String>,
    /// `ClusterRoleBinding "x"`, for the reason.
    binding: String,
    /// `ClusterRole "x"`, for the reason.
    role: String,
    /// The rules, or the words for a role that does not exist.
    rules: Result<Arc<[Rule]>, String>,
    /// The subject as the reason shows it.
    subject: String,
}

/// All roles and bindings at one moment.
#[derive(Debug, Default)]
pub struct Rbac {
    grants: HashMap<Subject, Vec<Grant>>,
    roles: HashMap<(String, String), Arc<[Rule]>>,
}

impl Rbac {
    /// The index over these objects.
    pub fn rebuild<'a>(
        roles: impl IntoIterator<Item = &'a Value>,
        role_bindings: impl IntoIterator<Item = &'a Value>,
        cluster_roles: impl IntoIterator<Item = &'a Value>,
        cluster_role_bindings: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mut rbac = Self::default();
        for role in roles {
            let key = (namespace(role).to_owned(), name(role).to_owned());
            rbac.roles.insert(key, Rule::all_of(role).into());
        }
        let cluster_roles: Vec<&Value> = cluster_roles.into_iter().collect();
        for role in &cluster_roles {
            let rules = match aggregated_rules(role, cluster_roles.iter().copied()) {
                Some(rules) => rules.iter().map(Rule::from_json).collect(),
                None => Rule::all_of(role),
            };
            rbac.roles
                .insert((String::new(), name(role).to_owned()), rules.into());
        }
        for binding in cluster_role_bindings {
            rbac.add(binding, None);
        }
        for binding in role_bindings {
            rbac.add(binding, Some(namespace(binding)));
        }
        rbac
    }

    fn add(&mut self, binding: &Value, namespace: Option<&str>) {
        let reference = &binding["roleRef"];
        let (kind, role_name) = (
            reference["kind"].as_str().unwrap_or_default(),
            reference["name"].as_str().unwrap_or_default(),
        );
        let scope = match (kind, namespace) {
            ("Role", Some(namespace)) => namespace,
            ("ClusterRole", _) => "",
            // A ClusterRoleBinding to a Role is refused at its creation.
            _ => return,
        };
        let place = namespace.map_or_else(String::new, |namespace| format!("/{namespace}"));
        let binding_name = match namespace {
            None => format!("ClusterRoleBinding {:?}", name(binding)),
            Some(_) => format!("RoleBinding {:?}", format!("{}{place}", name(binding))),
        };
        let key = (scope.to_owned(), role_name.to_owned());
        let rules = self.roles.get(&key).cloned().ok_or_else(|| {
            let resource = kind.to_lowercase();
            format!("{resource}.rbac.authorization.k8s.io {role_name:?} not found")
        });
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let Some((key, shown)) = read_subject(subject, namespace) else {
                continue;
            };
            self.grants.entry(key).or_default().push(Grant {
                namespace: namespace.map(ToOwned::to_owned),
                binding: binding_name.clone(),
                role: format!("{kind} {role_name:?}"),
                rules: rules.clone(),
                subject: shown,
            });
        }
    }

    /// Whether roles allow this.
    pub fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        let mut missing: Vec<&str> = Vec::new();
        for grant in self.grants_of(user, attributes.namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.matches(attributes)) => {
                    return Decision::allow(format!(
                        "RBAC: allowed by {} of {} to {}",
                        grant.binding, grant.role, grant.subject
                    ));
                }
                Ok(_) => {}
                Err(words) if !missing.contains(&words.as_str()) => missing.push(words),
                Err(_) => {}
            }
        }
        match missing.as_slice() {
            [] => Decision::no_opinion(""),
            [one] => Decision::no_opinion(format!("RBAC: {one}")),
            many => Decision::no_opinion(format!("RBAC: [{}]", many.join(", "))),
        }
    }

    /// All rules `user` has in a namespace (empty: those that hold everywhere).
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants_of(user, namespace)
            .filter_map(|grant| grant.rules.as_ref().ok())
            .flat_map(|rules| rules.iter().cloned())
            .collect()
    }

    /// The rules of a role (namespace empty: a ClusterRole), if it exists.
    pub fn rules_of_role(&self, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        self.roles
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    fn grants_of<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let user_key = Subject::User(user.name.clone());
        let groups = user.groups.iter().cloned().map(Subject::Group);
        let namespace = namespace.to_owned();
        std::iter::once(user_key)
            .chain(groups.collect::<Vec<_>>())
            .filter_map(|subject| self.grants.get(&subject))
            .flatten()
            .filter(move |grant| {
                grant
                    .namespace
                    .as_ref()
                    .is_none_or(|own| !namespace.is_empty() && *own == namespace)
            })
    }
}

/// The subject as a key, and as the reason of an answer shows it.
fn read_subject(subject: &Value, binding_namespace: Option<&str>) -> Option<(Subject, String)> {
    let name = subject["name"].as_str()?;
    match subject["kind"].as_str()? {
        "User" => Some((Subject::User(name.to_owned()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let namespace = subject["namespace"]
                .as_str()
                .filter(|namespace| !namespace.is_empty())
                .or(binding_namespace)?;
            Some((
                Subject::User(User::service_account(namespace, name).name),
                format!("ServiceAccount {:?}", format!("{name}/{namespace}")),
            ))
        }
        _ => None,
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}
