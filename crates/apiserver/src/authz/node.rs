//! What a node may do: its own Node, its Lease, pods bound to it and what those pods mention.
//! Mirrors the meaning of Kubernetes v1.33 `plugin/pkg/auth/authorizer/node`; what a node may *write*
//! is narrowed further by `admission::node_restriction`.

use serde_json::Value;

use super::{Attributes, Decision, bootstrap};
use crate::authn::User;
use crate::lookup::Lookup;

/// Whether `user` is a node that may do this.
pub(super) fn authorize(user: &User, attributes: &Attributes<'_>, lookup: &dyn Lookup) -> Decision {
    let Some(node) = user.as_node() else {
        return Decision::no_opinion("");
    };
    match (attributes.group, attributes.resource) {
        ("", "secrets") => read_through_pods(node, attributes, lookup, "secret", mentions_secret),
        ("", "configmaps") => {
            read_through_pods(node, attributes, lookup, "configmap", mentions_config_map)
        }
        ("", "persistentvolumeclaims") => read_through_pods(
            node,
            attributes,
            lookup,
            "persistentvolumeclaim",
            mentions_claim,
        ),
        ("", "persistentvolumes") => read_volume(node, attributes, lookup),
        ("", "serviceaccounts") => service_account(node, attributes, lookup),
        ("", "pods") if matches!(attributes.verb, "get" | "list" | "watch") => {
            read_pods(node, attributes, lookup)
        }
        ("", "nodes") if !is_own_node(node, attributes) => Decision::no_opinion(format!(
            "node '{node}' cannot {} nodes other than its own",
            attributes.verb
        )),
        ("coordination.k8s.io", "leases") => lease(node, attributes),
        _ => by_rules(attributes),
    }
}

/// What needs no look at other objects.
fn by_rules(attributes: &Attributes<'_>) -> Decision {
    if bootstrap::node_rules()
        .iter()
        .any(|rule| rule.matches(attributes))
    {
        Decision::allow("")
    } else {
        Decision::no_opinion("")
    }
}

/// Objects that a pod on the node mentions may be read one by one, or watched by name.
fn read_through_pods(
    node: &str,
    attributes: &Attributes<'_>,
    lookup: &dyn Lookup,
    what: &str,
    mentions: fn(&Value, &str) -> bool,
) -> Decision {
    let name = if attributes.name.is_empty() {
        named_by_selector(attributes.field_selector, "metadata.name")
    } else {
        Some(attributes.name)
    };
    let is_read = attributes.is_read_only() && attributes.subresource.is_empty();
    let Some(name) = name.filter(|_| is_read && !attributes.namespace.is_empty()) else {
        return Decision::no_opinion(format!("No Object name found, or {what} is not only read"));
    };
    if has_pod(node, attributes.namespace, lookup, name, &|pod| {
        mentions(pod, name)
    }) {
        Decision::allow("")
    } else {
        no_relationship(node)
    }
}

fn read_volume(node: &str, attributes: &Attributes<'_>, lookup: &dyn Lookup) -> Decision {
    if attributes.verb != "get" || attributes.name.is_empty() {
        return Decision::no_opinion("can only read persistentvolumes one by one");
    }
    let claim = lookup
        .get("", "persistentvolumes", "", attributes.name)
        .map(|volume| volume["spec"]["claimRef"].clone())
        .unwrap_or_default();
    let (Some(namespace), Some(name)) = (claim["namespace"].as_str(), claim["name"].as_str())
    else {
        return no_relationship(node);
    };
    if has_pod(node, namespace, lookup, name, &|pod| {
        mentions_claim(pod, name)
    }) {
        Decision::allow("")
    } else {
        no_relationship(node)
    }
}

/// A node asks for tokens of the accounts its pods run as, and reads those accounts.
fn service_account(node: &str, attributes: &Attributes<'_>, lookup: &dyn Lookup) -> Decision {
    let is_token = attributes.verb == "create" && attributes.subresource == "token";
    let is_read = attributes.verb == "get" && attributes.subresource.is_empty();
    if !(is_token || is_read) || attributes.name.is_empty() {
        return Decision::no_opinion("can only read a serviceaccount or create a token of it");
    }
    let account = attributes.name;
    if has_pod(node, attributes.namespace, lookup, account, &|pod| {
        pod["spec"]["serviceAccountName"] == account
    }) {
        Decision::allow("")
    } else {
        no_relationship(node)
    }
}

fn read_pods(node: &str, attributes: &Attributes<'_>, lookup: &dyn Lookup) -> Decision {
    if attributes.name.is_empty() {
        return if named_by_selector(attributes.field_selector, "spec.nodeName") == Some(node) {
            Decision::allow("")
        } else {
            Decision::no_opinion("can only list/watch pods with spec.nodeName field selector")
        };
    }
    let is_on_node = lookup
        .get("", "pods", attributes.namespace, attributes.name)
        .is_some_and(|pod| pod["spec"]["nodeName"] == node);
    if is_on_node {
        Decision::allow("")
    } else {
        no_relationship(node)
    }
}

/// A node object is the node's own by name, by a selector that names it, or not yet by any (create).
fn is_own_node(node: &str, attributes: &Attributes<'_>) -> bool {
    if attributes.name.is_empty() {
        return attributes.verb == "create"
            || named_by_selector(attributes.field_selector, "metadata.name") == Some(node);
    }
    attributes.name == node
}

fn lease(node: &str, attributes: &Attributes<'_>) -> Decision {
    let is_own = attributes.namespace == "kube-node-lease"
        && (attributes.name == node || (attributes.verb == "create" && attributes.name.is_empty()));
    let is_possible = matches!(
        attributes.verb,
        "get" | "create" | "update" | "patch" | "delete"
    );
    if is_own && is_possible {
        Decision::allow("")
    } else {
        Decision::no_opinion(
            "can only access the node lease with the same name as the requesting node",
        )
    }
}

fn no_relationship(node: &str) -> Decision {
    Decision::no_opinion(format!(
        "no relationship found between node '{node}' and this object"
    ))
}

/// Whether a pod on the node `mentions` the object called `name`. A pod whose text does not hold the name does not, but for
/// a claim of an ephemeral volume, whose name is put together.
fn has_pod(
    node: &str,
    namespace: &str,
    lookup: &dyn Lookup,
    name: &str,
    mentions: &dyn Fn(&Value) -> bool,
) -> bool {
    let may_mention = |text: &str| text.contains(name) || text.contains("\"ephemeral\"");
    lookup.any("", "pods", namespace, &may_mention, &|pod| {
        pod["spec"]["nodeName"] == node && mentions(pod)
    })
}

/// The value of `field=value` in a selector.
fn named_by_selector<'a>(selector: &'a str, field: &str) -> Option<&'a str> {
    selector.split(',').find_map(|term| {
        let (name, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (name.trim() == field && !value.is_empty()).then_some(value.trim())
    })
}

fn mentions_secret(pod: &Value, name: &str) -> bool {
    let pulls = list(&pod["spec"]["imagePullSecrets"]).any(|pull| pull["name"] == name);
    pulls
        || containers(pod).any(|container| {
            list(&container["envFrom"]).any(|from| from["secretRef"]["name"] == name)
                || list(&container["env"])
                    .any(|env| env["valueFrom"]["secretKeyRef"]["name"] == name)
        })
        || list(&pod["spec"]["volumes"]).any(|volume| {
            volume["secret"]["secretName"] == name
                || volume["csi"]["nodePublishSecretRef"]["name"] == name
                || list(&volume["projected"]["sources"])
                    .any(|source| source["secret"]["name"] == name)
        })
}

fn mentions_config_map(pod: &Value, name: &str) -> bool {
    containers(pod).any(|container| {
        list(&container["envFrom"]).any(|from| from["configMapRef"]["name"] == name)
            || list(&container["env"])
                .any(|env| env["valueFrom"]["configMapKeyRef"]["name"] == name)
    }) || list(&pod["spec"]["volumes"]).any(|volume| {
        volume["configMap"]["name"] == name
            || list(&volume["projected"]["sources"])
                .any(|source| source["configMap"]["name"] == name)
    })
}

fn mentions_claim(pod: &Value, name: &str) -> bool {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    list(&pod["spec"]["volumes"]).any(|volume| {
        let is_ephemeral = volume["ephemeral"].is_object()
            && volume["name"]
                .as_str()
                .is_some_and(|own| format!("{pod_name}-{own}") == name);
        volume["persistentVolumeClaim"]["claimName"] == name || is_ephemeral
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|kind| list(&pod["spec"][kind]))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::json;

    fn objects() -> Fixed {
        let pod = |name: &str, node: &str, secret: &str| {
            json!({
                "metadata": {"name": name, "namespace": "dev"},
                "spec": {
                    "nodeName": node, "serviceAccountName": format!("{name}-account"),
                    "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": format!("{name}-config")}}}]}],
                    "volumes": [
                        {"secret": {"secretName": secret}},
                        {"projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                        {"persistentVolumeClaim": {"claimName": format!("{name}-claim")}},
                    ],
                },
            })
        };
        Fixed::default()
            .with("", "pods", pod("mine", "n1", "my-secret"))
            .with("", "pods", pod("yours", "n2", "your-secret"))
            .with(
                "",
                "persistentvolumes",
                json!({"metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": "dev", "name": "mine-claim"}}}),
            )
    }

    fn may(verb: &str, resource: &str, name: &str) -> bool {
        may_with(Attributes {
            verb,
            resource: resource.split('/').next().unwrap(),
            subresource: resource.split_once('/').map_or("", |(_, sub)| sub),
            namespace: "dev",
            name,
            ..Attributes::default()
        })
    }

    fn may_with(attributes: Attributes<'_>) -> bool {
        authorize(&User::node("n1"), &attributes, &objects()).is_allowed
    }

    #[test]
    fn a_node_reads_what_its_pods_mention_and_nothing_else() {
        for (resource, mine, yours) in [
            ("secrets", "my-secret", "your-secret"),
            ("configmaps", "mine-config", "yours-config"),
            ("persistentvolumeclaims", "mine-claim", "yours-claim"),
            ("pods", "mine", "yours"),
        ] {
            assert!(may("get", resource, mine), "{resource}");
            assert!(!may("get", resource, yours), "{resource}");
            assert!(!may("list", resource, ""), "{resource}");
        }
        assert!(may("get", "configmaps", "kube-root-ca.crt"));
        assert!(!may("update", "secrets", "my-secret"));
        assert!(may_with(Attributes {
            verb: "get",
            resource: "persistentvolumes",
            name: "v",
            ..Attributes::default()
        }));
    }

    #[test]
    fn a_node_watches_pods_only_of_its_own() {
        let watch = |field_selector| Attributes {
            verb: "watch",
            resource: "pods",
            field_selector,
            ..Attributes::default()
        };
        assert!(may_with(watch("spec.nodeName=n1")));
        assert!(!may_with(watch("spec.nodeName=n2")));
        assert!(!may_with(watch("spec.nodeName!=n1")));
        assert!(!may_with(watch("")));
    }

    #[test]
    fn a_node_gets_tokens_only_for_accounts_its_pods_run_as() {
        assert!(may("create", "serviceaccounts/token", "mine-account"));
        assert!(!may("create", "serviceaccounts/token", "yours-account"));
        assert!(!may("update", "serviceaccounts", "mine-account"));
    }

    #[test]
    fn a_node_keeps_its_own_node_and_lease() {
        let node = |verb, name| Attributes {
            verb,
            resource: "nodes",
            name,
            ..Attributes::default()
        };
        assert!(may_with(node("get", "n1")) && may_with(node("create", "")));
        assert!(!may_with(node("get", "n2")));
        assert!(!may_with(node("delete", "n1")));
        let lease = |namespace, name| Attributes {
            verb: "update",
            group: "coordination.k8s.io",
            resource: "leases",
            namespace,
            name,
            ..Attributes::default()
        };
        assert!(may_with(lease("kube-node-lease", "n1")));
        assert!(!may_with(lease("kube-node-lease", "n2")));
        assert!(!may_with(lease("kube-system", "n1")));
    }

    #[test]
    fn only_members_of_the_nodes_group_are_nodes() {
        let get = Attributes {
            verb: "get",
            resource: "secrets",
            namespace: "dev",
            name: "my-secret",
            ..Attributes::default()
        };
        let pretender = User::new("system:node:n1", &[]);
        assert!(!authorize(&pretender, &get, &objects()).is_allowed);
    }
}
