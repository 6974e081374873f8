//! What a container may ask about itself: the fields of its pod and the resources of its containers, for the
//! environment and for downward API volumes alike.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use objects::quantity::Quantity;

/// Why a field has no value.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// The path is not among those the downward API offers.
    #[error("unsupported fieldPath: {0}")]
    UnsupportedField(String),
    /// The resource is not among those the downward API offers.
    #[error("unsupported container resource: {0}")]
    UnsupportedResource(String),
    /// The resource belongs to a container that the pod has not.
    #[error("container {0:?} not found")]
    NoSuchContainer(String),
    /// A quantity could not be read.
    #[error("quantity {0:?} is not valid")]
    BadQuantity(String),
}

/// What the node adds to a pod's own fields.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The address under which the node is known.
    pub host_ip: Option<IpAddr>,
    /// What the node offers, by resource name; the limit of a container that names none.
    pub allocatable: BTreeMap<String, String>,
}

/// The value of a `fieldRef`.
pub fn field(
    pod: &Pod,
    pod_ip: Option<IpAddr>,
    node: &NodeFacts,
    path: &str,
) -> Result<String, Error> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let of = |value: Option<&String>| value.cloned().unwrap_or_default();
    let address = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(Error::UnsupportedField(path.to_owned())),
        };
        return Ok(values
            .and_then(|values| values.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => of(metadata.name.as_ref()),
        "metadata.namespace" => of(metadata.namespace.as_ref()),
        "metadata.uid" => of(metadata.uid.as_ref()),
        "metadata.labels" => format_map(metadata.labels.as_ref()),
        "metadata.annotations" => format_map(metadata.annotations.as_ref()),
        "spec.nodeName" => node.name.clone(),
        "spec.serviceAccountName" => of(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.hostIP" | "status.hostIPs" => address(node.host_ip),
        "status.podIP" | "status.podIPs" => address(pod_ip),
        _ => return Err(Error::UnsupportedField(path.to_owned())),
    })
}

/// The value of a `resourceFieldRef`, in units of its divisor and rounded up.
pub fn resource(
    pod: &Pod,
    own_container: Option<&Container>,
    node: &NodeFacts,
    selector: &ResourceFieldSelector,
) -> Result<String, Error> {
    let container = match selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        Some(name) => all_containers(pod)
            .find(|container| container.name == name)
            .ok_or_else(|| Error::NoSuchContainer(name.to_owned()))?,
        None => own_container.ok_or_else(|| Error::NoSuchContainer(String::new()))?,
    };
    let (list, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| Error::UnsupportedResource(selector.resource.clone()))?;
    let resources = container.resources.as_ref();
    let limit = || {
        let own = resources
            .and_then(|r| r.limits.as_ref())
            .and_then(|l| l.get(resource))
            .map(|q| q.0.clone());
        own.or_else(|| node.allocatable.get(resource).cloned())
    };
    let amount = match list {
        "limits" => limit(),
        "requests" => resources
            .and_then(|r| r.requests.as_ref())
            .and_then(|requests| requests.get(resource))
            .map(|q| q.0.clone()),
        _ => return Err(Error::UnsupportedResource(selector.resource.clone())),
    };
    if !matches!(resource, "cpu" | "memory" | "ephemeral-storage")
        && !resource.starts_with("hugepages-")
    {
        return Err(Error::UnsupportedResource(selector.resource.clone()));
    }
    let divisor = selector
        .divisor
        .as_ref()
        .map(|q| q.0.as_str())
        .filter(|d| !d.is_empty() && *d != "0")
        .unwrap_or("1");
    let amount = in_base_units(amount.as_deref().unwrap_or("0"), resource)?;
    let divisor = in_base_units(divisor, resource)?.max(1);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

/// CPU in thousandths, everything else in whole units.
fn in_base_units(text: &str, resource: &str) -> Result<i128, Error> {
    let quantity: Quantity = text
        .parse()
        .map_err(|_| Error::BadQuantity(text.to_owned()))?;
    Ok(if resource == "cpu" {
        quantity.as_millis()
    } else {
        quantity.as_bytes()
    }
    .into())
}

/// Every container of a pod: init containers first, then the others.
pub fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(spec.containers.iter())
    })
}

/// `metadata.labels['key']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let bare = key
        .strip_prefix('\'')
        .and_then(|key| key.strip_suffix('\''));
    Some((
        map,
        bare.or_else(|| key.strip_prefix('"').and_then(|key| key.strip_suffix('"')))
            .unwrap_or(key),
    ))
}

/// A map as the lines `key="value"`, sorted by key.
pub fn format_map(values: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = values
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "ns", "uid": "u1",
                "labels": {"app": "web", "tier": "a\"b"}, "annotations": {"x/y": "z"},
            },
            "spec": {
                "serviceAccountName": "default",
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "65Mi"}}}],
            },
        }))
        .expect("a pod")
    }

    fn node() -> NodeFacts {
        NodeFacts {
            name: "node-1".into(),
            host_ip: Some("10.1.0.1".parse().expect("an address")),
            allocatable: [("memory".to_owned(), "2Gi".to_owned())].into(),
        }
    }

    fn selector(resource: &str, divisor: &str) -> ResourceFieldSelector {
        serde_json::from_value(json!({"resource": resource, "divisor": divisor}))
            .expect("a selector")
    }

    #[test]
    fn fields_come_from_the_pod_and_from_the_node() {
        let value = |path| {
            field(
                &pod(),
                Some("10.1.0.9".parse().expect("an address")),
                &node(),
                path,
            )
        };
        assert_eq!(value("metadata.labels['app']"), Ok("web".into()));
        assert_eq!(value("metadata.annotations['x/y']"), Ok("z".into()));
        assert_eq!(value("metadata.annotations['none']"), Ok(String::new()));
        assert_eq!(value("status.podIP"), Ok("10.1.0.9".into()));
        assert_eq!(value("spec.nodeName"), Ok("node-1".into()));
        assert_eq!(
            value("metadata.labels"),
            Ok("app=\"web\"\ntier=\"a\\\"b\"".into())
        );
        assert_eq!(
            value("spec.x"),
            Err(Error::UnsupportedField("spec.x".into()))
        );
    }

    #[test]
    fn resources_are_rounded_up_to_their_divisor() {
        let pod = pod();
        let own = all_containers(&pod).next();
        let value = |resource_name, divisor| {
            resource(&pod, own, &node(), &selector(resource_name, divisor))
        };
        assert_eq!(value("limits.cpu", "1"), Ok("2".into()));
        assert_eq!(value("limits.cpu", "1m"), Ok("1500".into()));
        assert_eq!(value("requests.memory", "1Mi"), Ok("65".into()));
        assert_eq!(value("requests.memory", "0"), Ok((65 << 20).to_string()));
    }

    #[test]
    fn a_container_without_a_limit_sees_what_the_node_offers() {
        let pod = pod();
        let value = resource(
            &pod,
            all_containers(&pod).next(),
            &node(),
            &selector("limits.memory", "1Gi"),
        );
        assert_eq!(value, Ok("2".into()));
    }
}
