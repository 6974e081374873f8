//! Services and what leads to them.

use serde_json::Value;

use super::super::{Printer, age, name};
use super::{AGE, NAME, column, list, or_none, pairs, selector, wide};

pub(super) static SERVICES: Printer = Printer {
    columns: &[
        NAME,
        column("Type", "string"),
        column("Cluster-IP", "string"),
        column("External-IP", "string"),
        column("Port(s)", "string"),
        AGE,
        wide("Selector", "string"),
    ],
    row: |service| {
        let spec = &service["spec"];
        let ports: Vec<String> = list(&spec["ports"])
            .iter()
            .map(|port| {
                let protocol = port["protocol"].as_str().unwrap_or("TCP");
                match port["nodePort"].as_i64().unwrap_or(0) {
                    0 => format!("{}/{protocol}", port["port"]),
                    node => format!("{}:{node}/{protocol}", port["port"]),
                }
            })
            .collect();
        let ports = if ports.is_empty() {
            "<none>".to_owned()
        } else {
            ports.join(",")
        };
        vec![
            name(service),
            spec["type"].clone(),
            or_none(&spec["clusterIP"]),
            external(service).into(),
            ports.into(),
            age(service),
            pairs(&spec["selector"]),
        ]
    },
};

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let given: Vec<&str> = list(&spec["externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match spec["type"].as_str().unwrap_or_default() {
        "ExternalName" => spec["externalName"].as_str().unwrap_or_default().to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = list(&service["status"]["loadBalancer"]["ingress"])
                .iter()
                .filter_map(|ingress| {
                    ingress["ip"]
                        .as_str()
                        .or_else(|| ingress["hostname"].as_str())
                })
                .collect();
            all.extend(given);
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        _ if given.is_empty() => "<none>".into(),
        _ => given.join(","),
    }
}

/// At most three, then how many more.
fn few(all: &[String]) -> String {
    match all {
        [] => "<none>".into(),
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a},{b},{c} + {} more...", rest.len()),
        some => some.join(","),
    }
}

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, column("Endpoints", "string"), AGE],
    row: |object| {
        let mut all = Vec::new();
        for subset in list(&object["subsets"]) {
            let addresses = list(&subset["addresses"]);
            let ports = list(&subset["ports"]);
            for address in addresses {
                let ip = address["ip"].as_str().unwrap_or_default();
                if ports.is_empty() {
                    all.push(ip.to_owned());
                }
                all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
            }
        }
        vec![name(object), few(&all).into(), age(object)]
    },
};

pub(super) static ENDPOINT_SLICES: Printer = Printer {
    columns: &[
        NAME,
        column("AddressType", "string"),
        column("Ports", "string"),
        column("Endpoints", "string"),
        AGE,
    ],
    row: |object| {
        let ports: Vec<String> = list(&object["ports"])
            .iter()
            .map(|port| {
                port["port"]
                    .as_i64()
                    .map_or_else(|| "*".into(), |port| port.to_string())
            })
            .collect();
        let ports = if ports.is_empty() {
            "<unset>".to_owned()
        } else {
            few(&ports)
        };
        let addresses: Vec<String> = list(&object["endpoints"])
            .iter()
            .flat_map(|endpoint| list(&endpoint["addresses"]))
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        let addresses = if addresses.is_empty() {
            "<unset>".to_owned()
        } else {
            few(&addresses)
        };
        vec![
            name(object),
            object["addressType"].clone(),
            ports.into(),
            addresses.into(),
            age(object),
        ]
    },
};

pub(super) static INGRESSES: Printer = Printer {
    columns: &[
        NAME,
        column("Class", "string"),
        column("Hosts", "string"),
        column("Address", "string"),
        column("Ports", "string"),
        AGE,
    ],
    row: |object| {
        let spec = &object["spec"];
        let hosts: Vec<String> = list(&spec["rules"])
            .iter()
            .filter_map(|rule| {
                rule["host"]
                    .as_str()
                    .filter(|host| !host.is_empty())
                    .map(str::to_owned)
            })
            .collect();
        let hosts = if hosts.is_empty() {
            "*".to_owned()
        } else {
            few(&hosts)
        };
        let addresses: Vec<&str> = list(&object["status"]["loadBalancer"]["ingress"])
            .iter()
            .filter_map(|ingress| {
                ingress["ip"]
                    .as_str()
                    .or_else(|| ingress["hostname"].as_str())
            })
            .collect();
        let ports = if list(&spec["tls"]).is_empty() {
            "80"
        } else {
            "80, 443"
        };
        vec![
            name(object),
            or_none(&spec["ingressClassName"]),
            hosts.into(),
            addresses.join(",").into(),
            ports.into(),
            age(object),
        ]
    },
};

pub(super) static INGRESS_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        column("Controller", "string"),
        column("Parameters", "string"),
        AGE,
    ],
    row: |object| {
        let parameters = &object["spec"]["parameters"];
        let text = |field: &str| parameters[field].as_str().unwrap_or_default();
        let shown = match (text("kind"), text("apiGroup")) {
            ("", _) => "<none>".to_owned(),
            (kind, "") => format!("{kind}/{}", text("name")),
            (kind, group) => format!("{kind}.{group}/{}", text("name")),
        };
        vec![
            name(object),
            object["spec"]["controller"].clone(),
            shown.into(),
            age(object),
        ]
    },
};

pub(super) static NETWORK_POLICIES: Printer = Printer {
    columns: &[NAME, column("Pod-Selector", "string"), AGE],
    row: |object| {
        vec![
            name(object),
            selector(&object["spec"]["podSelector"]),
            age(object),
        ]
    },
};
