//! Rights of the controllers on an API server that is not ours. Kubernetes lets its own controllers update what ours
//! patch; whoever may replace an object gains nothing by a patch, so each gets to patch what its role lets it update.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};

use crate::IDENTITIES;

/// How the cluster's roles of its own controllers begin.
const THEIRS: &str = "system:controller:";
/// How the roles made here begin.
const OURS: &str = "ferroflow:controller:";
const MANAGER: &str = "ferroflow-workloads";

/// Reads the roles of the cluster's own controllers and lets ours patch what those may update. Makes nothing where they
/// may patch already.
pub async fn let_patch_what_may_update(client: &Client) -> kube::Result<()> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let params = PatchParams::apply(MANAGER).force();
    for identity in IDENTITIES {
        let Some(theirs) = roles.get_opt(&format!("{THEIRS}{identity}")).await? else {
            continue;
        };
        let rules = patches(theirs.rules.as_deref().unwrap_or_default());
        if rules.is_empty() {
            continue;
        }
        let (role, binding) = objects(identity, rules);
        roles
            .patch(&role.name_any(), &params, &Patch::Apply(&role))
            .await?;
        bindings
            .patch(&binding.name_any(), &params, &Patch::Apply(&binding))
            .await?;
        tracing::debug!("{identity} may patch what it may update");
    }
    Ok(())
}

/// What may be patched in addition.
fn patches(rules: &[PolicyRule]) -> Vec<PolicyRule> {
    let has = |rule: &PolicyRule, verb: &str| rule.verbs.iter().any(|own| own == verb);
    rules
        .iter()
        .filter(|rule| has(rule, "update") && !has(rule, "patch") && !has(rule, "*"))
        .map(|rule| PolicyRule {
            verbs: vec!["patch".to_owned()],
            ..rule.clone()
        })
        .collect()
}

fn objects(identity: &str, rules: Vec<PolicyRule>) -> (ClusterRole, ClusterRoleBinding) {
    let name = format!("{OURS}{identity}");
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        labels: Some(BTreeMap::from([(
            "app.kubernetes.io/part-of".to_owned(),
            "ferroflow".to_owned(),
        )])),
        ..ObjectMeta::default()
    };
    let role = ClusterRole {
        metadata: metadata.clone(),
        rules: Some(rules),
        ..ClusterRole::default()
    };
    let binding = ClusterRoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name,
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: identity.to_owned(),
            namespace: Some("kube-system".to_owned()),
            ..Subject::default()
        }]),
    };
    (role, binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], resource: &str) -> PolicyRule {
        PolicyRule {
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            api_groups: Some(vec!["apps".to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn what_may_be_updated_may_be_patched_and_nothing_else() {
        let rules = [
            rule(&["get", "update"], "deployments"),
            rule(&["update", "patch"], "replicasets"),
            rule(&["list", "watch"], "daemonsets"),
            rule(&["*"], "statefulsets"),
        ];
        assert_eq!(patches(&rules), [rule(&["patch"], "deployments")]);
    }

    #[test]
    fn the_right_is_given_to_the_controllers_own_account() {
        let (role, binding) = objects("job-controller", vec![rule(&["patch"], "jobs")]);
        assert_eq!(role.name_any(), "ferroflow:controller:job-controller");
        assert_eq!(binding.role_ref.name, role.name_any());
        let subjects = binding.subjects.expect("subjects");
        assert_eq!(subjects[0].name, "job-controller");
        assert_eq!(subjects[0].namespace.as_deref(), Some("kube-system"));
    }
}
