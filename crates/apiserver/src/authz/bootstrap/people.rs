//! Roles for people: the owner, and the three that are given out per namespace and grow by
//! aggregation (a CRD's author labels a ClusterRole, and `view`, `edit` and `admin` include it).

use serde_json::{Value, json};

use super::{Object, allow, allow_paths, cluster_role, cluster_role_binding, group};

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const FULL: &str = "create delete deletecollection get list patch update watch";

pub(super) fn objects() -> Vec<Object> {
    vec![
        cluster_role(
            "cluster-admin",
            vec![allow("*", "*", "*"), allow_paths("*", "*")],
        ),
        cluster_role_binding(
            "cluster-admin",
            "cluster-admin",
            vec![group("system:masters")],
        ),
        cluster_role(
            "system:discovery",
            vec![allow_paths(
                "get",
                "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
            )],
        ),
        cluster_role_binding(
            "system:discovery",
            "system:discovery",
            vec![group("system:authenticated")],
        ),
        cluster_role(
            "system:public-info-viewer",
            vec![allow_paths(
                "get",
                "/healthz /livez /readyz /version /version/",
            )],
        ),
        cluster_role_binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            vec![
                group("system:authenticated"),
                group("system:unauthenticated"),
            ],
        ),
        cluster_role(
            "system:basic-user",
            vec![
                allow(
                    "create",
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews selfsubjectrulesreviews",
                ),
                allow("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        cluster_role_binding(
            "system:basic-user",
            "system:basic-user",
            vec![group("system:authenticated")],
        ),
        aggregate("admin", "admin", None),
        aggregate("edit", "edit", Some("admin")),
        aggregate("view", "view", Some("edit")),
        part_of("admin", admin()),
        part_of("edit", edit()),
        part_of("view", view()),
    ]
}

/// A role made of all that is labelled for it; it may itself be part of a larger one.
fn aggregate(name: &str, label: &str, part_of: Option<&str>) -> Object {
    let mut role = cluster_role(name, vec![]);
    if let Some(larger) = part_of {
        role.object["metadata"]["labels"][aggregate_label(larger)] = json!("true");
    }
    role.object["aggregationRule"] =
        json!({"clusterRoleSelectors": [{"matchLabels": {aggregate_label(label): "true"}}]});
    role
}

/// The built-in part of an aggregated role.
fn part_of(name: &str, rules: Vec<Value>) -> Object {
    let mut role = cluster_role(&format!("system:aggregate-to-{name}"), rules);
    role.object["metadata"]["labels"][aggregate_label(name)] = json!("true");
    role
}

fn aggregate_label(name: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{name}")
}

fn admin() -> Vec<Value> {
    vec![
        allow(
            "create",
            "authorization.k8s.io",
            "localsubjectaccessreviews",
        ),
        allow(FULL, "rbac.authorization.k8s.io", "rolebindings roles"),
    ]
}

fn edit() -> Vec<Value> {
    vec![
        allow(
            READ,
            "",
            "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        ),
        allow("impersonate", "", "serviceaccounts"),
        allow(
            WRITE,
            "",
            "pods pods/attach pods/exec pods/portforward pods/proxy",
        ),
        allow("create", "", "pods/eviction serviceaccounts/token"),
        allow(
            WRITE,
            "",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
             secrets serviceaccounts services services/proxy",
        ),
        allow(
            WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
             statefulsets statefulsets/scale",
        ),
        allow(WRITE, "autoscaling", "horizontalpodautoscalers"),
        allow(WRITE, "batch", "cronjobs jobs"),
        allow(WRITE, "policy", "poddisruptionbudgets"),
        allow(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        allow(FULL, "coordination.k8s.io", "leases"),
    ]
}

/// Neither secrets nor roles: reading a secret would be a way to become its service account.
fn view() -> Vec<Value> {
    vec![
        allow(
            READ,
            "",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods pods/log pods/status \
             replicationcontrollers replicationcontrollers/scale replicationcontrollers/status serviceaccounts \
             services services/status bindings events limitranges namespaces namespaces/status resourcequotas \
             resourcequotas/status",
        ),
        allow(READ, "events.k8s.io", "events"),
        allow(READ, "discovery.k8s.io", "endpointslices"),
        allow(
            READ,
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
             replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        ),
        allow(
            READ,
            "autoscaling",
            "horizontalpodautoscalers horizontalpodautoscalers/status",
        ),
        allow(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        allow(
            READ,
            "policy",
            "poddisruptionbudgets poddisruptionbudgets/status",
        ),
        allow(
            READ,
            "networking.k8s.io",
            "ingresses ingresses/status networkpolicies",
        ),
    ]
}
