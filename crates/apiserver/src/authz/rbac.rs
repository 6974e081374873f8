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
    of_users: HashMap<String, Vec<Grant>>,
    of_groups: HashMap<String, Vec<Grant>>,
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
            let grants = match key {
                Subject::User(name) => self.of_users.entry(name),
                Subject::Group(name) => self.of_groups.entry(name),
            };
            grants.or_default().push(Grant {
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

    fn grants_of<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Grant> {
        let of_groups = user
            .groups
            .iter()
            .filter_map(|group| self.of_groups.get(group));
        self.of_users
            .get(&user.name)
            .into_iter()
            .chain(of_groups)
            .flatten()
            .filter(move |grant| {
                grant
                    .namespace
                    .as_ref()
                    .is_none_or(|own| !namespace.is_empty() && own == namespace)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(namespace: &str, name: &str, verbs: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": namespace}, "rules": [
            {"verbs": [verbs], "apiGroups": [""], "resources": ["pods"]},
        ]})
    }

    fn binding(namespace: &str, kind: &str, role: &str, subject: Value) -> Value {
        json!({
            "metadata": {"name": "b", "namespace": namespace},
            "roleRef": {"kind": kind, "name": role}, "subjects": [subject],
        })
    }

    fn pods<'a>(verb: &'a str, namespace: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            namespace,
            resource: "pods",
            ..Attributes::default()
        }
    }

    #[test]
    fn a_role_binding_gives_only_in_its_namespace_also_of_a_cluster_role() {
        let roles = [role("dev", "local", "get")];
        let cluster_roles = [role("", "wide", "list")];
        let bindings = [
            binding(
                "dev",
                "Role",
                "local",
                json!({"kind": "User", "name": "ann"}),
            ),
            binding(
                "dev",
                "ClusterRole",
                "wide",
                json!({"kind": "User", "name": "ann"}),
            ),
        ];
        let rbac = Rbac::rebuild(&roles, &bindings, &cluster_roles, []);
        let ann = User::new("ann", &[]);
        for verb in ["get", "list"] {
            assert!(rbac.authorize(&ann, &pods(verb, "dev")).is_allowed);
            assert!(!rbac.authorize(&ann, &pods(verb, "prod")).is_allowed);
            assert!(!rbac.authorize(&ann, &pods(verb, "")).is_allowed);
        }
    }

    #[test]
    fn a_cluster_binding_gives_everywhere_to_each_member_of_a_group() {
        let cluster_roles = [role("", "wide", "list")];
        let bindings = [binding(
            "",
            "ClusterRole",
            "wide",
            json!({"kind": "Group", "name": "devs"}),
        )];
        let rbac = Rbac::rebuild([], [], &cluster_roles, &bindings);
        let member = User::new("ann", &["devs"]);
        assert!(rbac.authorize(&member, &pods("list", "any")).is_allowed);
        assert!(rbac.authorize(&member, &pods("list", "")).is_allowed);
        assert!(
            !rbac
                .authorize(&User::new("devs", &[]), &pods("list", "any"))
                .is_allowed
        );
        assert_eq!(
            rbac.authorize(&member, &pods("list", "")).reason,
            r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "wide" to Group "devs""#
        );
    }

    #[test]
    fn a_service_account_is_bound_by_namespace_and_name() {
        let cluster_roles = [role("", "wide", "list")];
        let subject = json!({"kind": "ServiceAccount", "name": "builder", "namespace": "dev"});
        let bindings = [binding("", "ClusterRole", "wide", subject)];
        let rbac = Rbac::rebuild([], [], &cluster_roles, &bindings);
        assert!(
            rbac.authorize(&User::service_account("dev", "builder"), &pods("list", ""))
                .is_allowed
        );
        assert!(
            !rbac
                .authorize(&User::service_account("prod", "builder"), &pods("list", ""))
                .is_allowed
        );
    }

    #[test]
    fn a_binding_to_a_missing_role_gives_nothing_and_says_why() {
        let bindings = [binding(
            "",
            "ClusterRole",
            "gone",
            json!({"kind": "User", "name": "ann"}),
        )];
        let rbac = Rbac::rebuild([], [], [], &bindings);
        let decision = rbac.authorize(&User::new("ann", &[]), &pods("list", ""));
        assert!(!decision.is_allowed);
        assert_eq!(
            decision.reason,
            r#"RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#
        );
    }

    #[test]
    fn a_cluster_binding_cannot_give_a_role_of_a_namespace() {
        let roles = [role("dev", "local", "get")];
        let bindings = [binding(
            "",
            "Role",
            "local",
            json!({"kind": "User", "name": "ann"}),
        )];
        let rbac = Rbac::rebuild(&roles, [], [], &bindings);
        assert!(
            !rbac
                .authorize(&User::new("ann", &[]), &pods("get", "dev"))
                .is_allowed
        );
    }

    #[test]
    fn aggregated_rules_count_even_before_anybody_wrote_them_down() {
        let whole = json!({
            "metadata": {"name": "whole"}, "rules": [],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]},
        });
        let mut part = role("", "part", "get");
        part["metadata"]["labels"] = json!({"part": "yes"});
        let bindings = [binding(
            "",
            "ClusterRole",
            "whole",
            json!({"kind": "User", "name": "ann"}),
        )];
        let rbac = Rbac::rebuild([], [], [&whole, &part], &bindings);
        assert!(
            rbac.authorize(&User::new("ann", &[]), &pods("get", ""))
                .is_allowed
        );
    }
}
