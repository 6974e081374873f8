//! Roles of the parts of a cluster that are not controllers: node, scheduler, controller manager, monitoring.

use serde_json::Value;

use super::{
    Object, allow, allow_named, allow_paths, cluster_role, cluster_role_binding, events, group,
    role, role_binding, service_account, user,
};

const READ: &str = "get list watch";

pub(super) fn objects() -> Vec<Object> {
    // Each under its own name, and as the service account that our processes use.
    let scheduler = || {
        vec![
            user("system:kube-scheduler"),
            service_account("kube-system", "kube-scheduler"),
        ]
    };
    let manager = || {
        vec![
            user("system:kube-controller-manager"),
            service_account("kube-system", "kube-controller-manager"),
        ]
    };
    vec![
        // Nodes get these rules from the node authoriser, which narrows them; nobody is bound to the role.
        cluster_role("system:node", node_role()),
        cluster_role_binding("system:node", "system:node", vec![]),
        cluster_role("system:kube-scheduler", kube_scheduler()),
        cluster_role_binding(
            "system:kube-scheduler",
            "system:kube-scheduler",
            scheduler(),
        ),
        cluster_role("system:volume-scheduler", volume_scheduler()),
        cluster_role_binding(
            "system:volume-scheduler",
            "system:volume-scheduler",
            scheduler(),
        ),
        cluster_role("system:kube-controller-manager", kube_controller_manager()),
        cluster_role_binding(
            "system:kube-controller-manager",
            "system:kube-controller-manager",
            manager(),
        ),
        cluster_role(
            "system:auth-delegator",
            vec![
                allow("create", "authentication.k8s.io", "tokenreviews"),
                allow("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        cluster_role(
            "system:kubelet-api-admin",
            vec![
                allow(READ, "", "nodes"),
                allow("proxy", "", "nodes"),
                allow(
                    "*",
                    "",
                    "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
                ),
            ],
        ),
        cluster_role(
            "system:node-proxier",
            vec![
                allow("list watch", "", "endpoints services"),
                allow(READ, "", "nodes"),
                events(),
                allow("list watch", "discovery.k8s.io", "endpointslices"),
                allow("list watch", "networking.k8s.io", "servicecidrs"),
            ],
        ),
        cluster_role_binding(
            "system:node-proxier",
            "system:node-proxier",
            vec![user("system:kube-proxy")],
        ),
        cluster_role(
            "system:node-problem-detector",
            vec![
                allow("get", "", "nodes"),
                allow("patch", "", "nodes/status"),
                events(),
            ],
        ),
        cluster_role(
            "system:kube-aggregator",
            vec![allow(READ, "", "endpoints services")],
        ),
        cluster_role(
            "system:monitoring",
            vec![allow_paths(
                "get",
                "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
            )],
        ),
        cluster_role_binding(
            "system:monitoring",
            "system:monitoring",
            vec![group("system:monitoring")],
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            vec![allow_paths(
                "get",
                "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
            )],
        ),
        cluster_role_binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            vec![group("system:serviceaccounts")],
        ),
        cluster_role(
            "system:kube-dns",
            vec![
                allow("list watch", "", "endpoints services"),
                allow("list watch", "discovery.k8s.io", "endpointslices"),
            ],
        ),
        cluster_role_binding(
            "system:kube-dns",
            "system:kube-dns",
            vec![service_account("kube-system", "kube-dns")],
        ),
        cluster_role(
            "system:persistent-volume-provisioner",
            vec![
                allow("create delete get list watch", "", "persistentvolumes"),
                allow("get list update watch", "", "persistentvolumeclaims"),
                allow(READ, "storage.k8s.io", "storageclasses"),
                allow("watch", "", "events"),
                events(),
            ],
        ),
        role(
            "kube-system",
            "extension-apiserver-authentication-reader",
            vec![allow_named(
                "get list watch",
                "",
                "configmaps",
                "extension-apiserver-authentication",
            )],
        ),
        leader_role(
            "system::leader-locking-kube-controller-manager",
            "kube-controller-manager",
        ),
        role_binding(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            manager(),
        ),
        leader_role("system::leader-locking-kube-scheduler", "kube-scheduler"),
        role_binding(
            "kube-system",
            "system::leader-locking-kube-scheduler",
            scheduler(),
        ),
    ]
}

/// All that a node may do, what it may do only for its own pods included.
fn node_role() -> Vec<Value> {
    let mut rules = node();
    rules.extend([
        allow(READ, "", "configmaps pods secrets"),
        allow(
            "get",
            "",
            "endpoints persistentvolumeclaims persistentvolumes",
        ),
        allow("get patch update", "", "persistentvolumeclaims/status"),
        allow("create", "", "serviceaccounts/token"),
        allow("get", "storage.k8s.io", "volumeattachments"),
        allow(
            "create delete get patch update",
            "coordination.k8s.io",
            "leases",
        ),
    ]);
    rules
}

/// What nodes may do, before `authz::node` narrows it to what is theirs.
pub(super) fn node() -> Vec<Value> {
    vec![
        allow("create", "authentication.k8s.io", "tokenreviews"),
        allow(
            "create",
            "authorization.k8s.io",
            "localsubjectaccessreviews subjectaccessreviews",
        ),
        // Services and their endpoints, because our node also does what kube-proxy does.
        allow(READ, "", "services"),
        allow(READ, "discovery.k8s.io", "endpointslices"),
        allow("create get list watch update patch", "", "nodes"),
        allow("update patch", "", "nodes/status"),
        events(),
        allow("create delete", "", "pods"),
        allow("update patch", "", "pods/status"),
        allow("create", "", "pods/eviction"),
        allow("get list watch", "node.k8s.io", "runtimeclasses"),
        allow("get list watch", "storage.k8s.io", "csidrivers"),
        allow(
            "create get update patch delete",
            "storage.k8s.io",
            "csinodes",
        ),
        allow(
            "create get list watch",
            "certificates.k8s.io",
            "certificatesigningrequests",
        ),
    ]
}

fn kube_scheduler() -> Vec<Value> {
    vec![
        events(),
        allow("create", "coordination.k8s.io", "leases"),
        allow_named(
            "get list update watch",
            "coordination.k8s.io",
            "leases",
            "kube-scheduler",
        ),
        allow(
            "create delete deletecollection get list patch update watch",
            "coordination.k8s.io",
            "leasecandidates",
        ),
        allow(READ, "", "nodes namespaces"),
        allow("delete get list watch", "", "pods"),
        allow("create", "", "bindings pods/binding"),
        allow("patch update", "", "pods/status"),
        allow(READ, "", "replicationcontrollers services"),
        allow(READ, "apps", "replicasets statefulsets"),
        allow(READ, "policy", "poddisruptionbudgets"),
        allow(READ, "", "persistentvolumeclaims persistentvolumes"),
        allow("create", "authentication.k8s.io", "tokenreviews"),
        allow("create", "authorization.k8s.io", "subjectaccessreviews"),
        allow(
            READ,
            "storage.k8s.io",
            "csidrivers csinodes csistoragecapacities volumeattachments",
        ),
    ]
}

fn volume_scheduler() -> Vec<Value> {
    vec![
        allow("get list patch update watch", "", "persistentvolumes"),
        allow(READ, "storage.k8s.io", "storageclasses"),
        allow("get list patch update watch", "", "persistentvolumeclaims"),
    ]
}

fn kube_controller_manager() -> Vec<Value> {
    vec![
        events(),
        allow("create", "coordination.k8s.io", "leases"),
        allow_named(
            "get update",
            "coordination.k8s.io",
            "leases",
            "kube-controller-manager",
        ),
        allow(
            "create",
            "",
            "secrets serviceaccounts serviceaccounts/token",
        ),
        allow("delete", "", "secrets"),
        allow("get", "", "configmaps namespaces secrets serviceaccounts"),
        allow("update", "", "secrets serviceaccounts"),
        allow("create", "authentication.k8s.io", "tokenreviews"),
        allow("create", "authorization.k8s.io", "subjectaccessreviews"),
        allow("list watch", "*", "*"),
    ]
}

/// The right to hold one leader lease.
fn leader_role(name: &str, lease: &str) -> Object {
    role(
        "kube-system",
        name,
        vec![
            allow("watch", "", "configmaps"),
            allow_named("get update", "", "configmaps", lease),
            allow("create", "coordination.k8s.io", "leases"),
            allow_named("get update", "coordination.k8s.io", "leases", lease),
        ],
    )
}
