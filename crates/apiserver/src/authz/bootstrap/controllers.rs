//! One role per controller, bound to the controller's service account in `kube-system`, and to the
//! controller manager's own name for those controllers that run under it.
//!
//! Upstream's controllers write by update; ours also write by patch, so who may update may patch here.

use serde_json::Value;

use super::{Object, allow, cluster_role, cluster_role_binding, events, service_account, user};

const READ: &str = "get list watch";

pub(super) fn objects() -> Vec<Object> {
    controllers()
        .into_iter()
        .flat_map(|(name, mut rules)| {
            rules.iter_mut().for_each(let_patch_what_may_update);
            let role = format!("system:controller:{name}");
            let subjects = vec![
                service_account("kube-system", name),
                user("system:kube-controller-manager"),
            ];
            [
                cluster_role(&role, rules),
                cluster_role_binding(&role, &role, subjects),
            ]
        })
        .collect()
}

fn let_patch_what_may_update(rule: &mut Value) {
    if let Some(verbs) = rule["verbs"].as_array_mut()
        && verbs.iter().any(|verb| verb == "update")
        && !verbs.iter().any(|verb| verb == "patch")
    {
        verbs.push("patch".into());
    }
}

fn controllers() -> Vec<(&'static str, Vec<Value>)> {
    let pods = |verbs| allow(verbs, "", "pods");
    vec![
        (
            "clusterrole-aggregation-controller",
            vec![allow(
                "escalate get list patch update watch",
                "rbac.authorization.k8s.io",
                "clusterroles",
            )],
        ),
        (
            "cronjob-controller",
            vec![
                allow("get list update watch", "batch", "cronjobs"),
                allow("create delete get list patch update watch", "batch", "jobs"),
                allow("update", "batch", "cronjobs/status cronjobs/finalizers"),
                pods("delete list watch"),
                events(),
            ],
        ),
        (
            "daemon-set-controller",
            vec![
                allow(READ, "apps", "daemonsets"),
                allow("update", "apps", "daemonsets/status daemonsets/finalizers"),
                allow("list watch", "", "nodes"),
                pods("create delete list patch watch"),
                allow("create", "", "pods/binding"),
                revisions(),
                events(),
            ],
        ),
        (
            "deployment-controller",
            vec![
                allow("get list update watch", "apps", "deployments"),
                allow(
                    "update",
                    "apps",
                    "deployments/status deployments/finalizers",
                ),
                allow(
                    "create delete get list patch update watch",
                    "apps",
                    "replicasets",
                ),
                pods("get list update watch"),
                events(),
            ],
        ),
        (
            "disruption-controller",
            vec![
                allow(READ, "apps", "deployments replicasets statefulsets"),
                allow("get list watch", "", "replicationcontrollers"),
                pods("get list watch"),
                allow("patch update", "", "pods/status"),
                allow(READ, "policy", "poddisruptionbudgets"),
                allow("update", "policy", "poddisruptionbudgets/status"),
                allow("get", "*", "*/scale"),
                events(),
            ],
        ),
        (
            "endpoint-controller",
            vec![
                allow(READ, "", "pods services"),
                allow("create delete get list update watch", "", "endpoints"),
                allow("create", "", "endpoints/restricted"),
                events(),
            ],
        ),
        (
            "endpointslice-controller",
            vec![
                allow(READ, "", "nodes pods services"),
                allow("update", "", "services/finalizers"),
                allow(
                    "create delete get list update watch",
                    "discovery.k8s.io",
                    "endpointslices",
                ),
                allow("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "endpointslicemirroring-controller",
            vec![
                allow("get list watch", "", "endpoints services"),
                allow("update", "", "services/finalizers"),
                allow(
                    "create delete get list update watch",
                    "discovery.k8s.io",
                    "endpointslices",
                ),
                allow("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "ephemeral-volume-controller",
            vec![
                pods("get list watch"),
                allow("update", "", "pods/finalizers"),
                allow("create get list watch", "", "persistentvolumeclaims"),
                events(),
            ],
        ),
        (
            "generic-garbage-collector",
            vec![
                allow("delete get list patch update watch", "*", "*"),
                events(),
            ],
        ),
        (
            "horizontal-pod-autoscaler",
            vec![
                allow(READ, "autoscaling", "horizontalpodautoscalers"),
                allow("update", "autoscaling", "horizontalpodautoscalers/status"),
                allow("get update", "*", "*/scale"),
                pods("list watch"),
                allow("list watch", "metrics.k8s.io", "pods"),
                allow(
                    "get list watch",
                    "custom.metrics.k8s.io external.metrics.k8s.io",
                    "*",
                ),
                events(),
            ],
        ),
        (
            "job-controller",
            vec![
                allow("get list patch update watch", "batch", "jobs"),
                allow("update", "batch", "jobs/status jobs/finalizers"),
                pods("create delete list patch watch"),
                events(),
            ],
        ),
        (
            "namespace-controller",
            vec![
                allow("delete get list watch", "", "namespaces"),
                allow("update", "", "namespaces/finalize namespaces/status"),
                allow("delete deletecollection get list watch", "*", "*"),
            ],
        ),
        (
            "node-controller",
            vec![
                allow("delete get list patch update watch", "", "nodes"),
                allow("patch update", "", "nodes/status"),
                pods("delete get list watch"),
                allow("patch update", "", "pods/status"),
                allow("get list watch", "coordination.k8s.io", "leases"),
                events(),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                allow(
                    "create delete get list update watch",
                    "",
                    "persistentvolumes",
                ),
                allow("update", "", "persistentvolumes/status"),
                allow("get list update watch", "", "persistentvolumeclaims"),
                allow("update", "", "persistentvolumeclaims/status"),
                pods("create delete get list watch"),
                allow("watch", "", "events"),
                allow("get list watch", "", "nodes"),
                allow(READ, "storage.k8s.io", "storageclasses"),
                events(),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![
                pods("delete list watch"),
                allow("get list watch", "", "nodes"),
                allow("patch", "", "pods/status"),
            ],
        ),
        (
            "pvc-protection-controller",
            vec![
                allow("get list update watch", "", "persistentvolumeclaims"),
                pods("get list watch"),
                events(),
            ],
        ),
        (
            "pv-protection-controller",
            vec![
                allow("get list update watch", "", "persistentvolumes"),
                events(),
            ],
        ),
        (
            "replicaset-controller",
            vec![
                allow("get list update watch", "apps", "replicasets"),
                allow(
                    "update",
                    "apps",
                    "replicasets/status replicasets/finalizers",
                ),
                pods("create delete list patch watch"),
                events(),
            ],
        ),
        (
            "replication-controller",
            vec![
                allow("get list update watch", "", "replicationcontrollers"),
                allow(
                    "update",
                    "",
                    "replicationcontrollers/status replicationcontrollers/finalizers",
                ),
                pods("create delete list patch watch"),
                events(),
            ],
        ),
        (
            "resourcequota-controller",
            vec![
                allow("list watch", "*", "*"),
                allow("update", "", "resourcequotas/status"),
                events(),
            ],
        ),
        (
            "root-ca-cert-publisher",
            vec![allow("create update", "", "configmaps"), events()],
        ),
        (
            "service-account-controller",
            vec![allow("create", "", "serviceaccounts"), events()],
        ),
        (
            "statefulset-controller",
            vec![
                pods("create delete get list patch update watch"),
                allow("update", "", "pods/finalizers"),
                allow(READ, "apps", "statefulsets"),
                allow(
                    "update",
                    "apps",
                    "statefulsets/status statefulsets/finalizers",
                ),
                revisions(),
                allow(
                    "create delete get list patch update watch",
                    "",
                    "persistentvolumeclaims",
                ),
                events(),
            ],
        ),
        (
            "ttl-after-finished-controller",
            vec![allow("delete get list watch", "batch", "jobs"), events()],
        ),
    ]
}

fn revisions() -> Value {
    allow(
        "create delete get list patch update watch",
        "apps",
        "controllerrevisions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_update_may_patch() {
        for object in objects() {
            for rule in object.object["rules"].as_array().into_iter().flatten() {
                let verbs = rule["verbs"].as_array().unwrap();
                let has = |verb: &str| verbs.iter().any(|own| own == verb);
                assert!(!has("update") || has("patch"), "{rule}");
            }
        }
    }
}
