//! The variables that tell a container where the Services of its namespace are. The API's own Service is always
//! among them; the others only where the pod asks for links.

use k8s_openapi::api::core::v1::Service;

/// Variables for the Services that a pod in `namespace` sees, sorted by Service so that they never change order.
pub fn service_variables(
    services: &[Service],
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut seen: Vec<&Service> = services
        .iter()
        .filter(|service| is_visible(service, namespace, links))
        .collect();
    // A Service of the pod's own namespace hides the API's when both are called "kubernetes".
    seen.sort_by_key(|service| {
        (
            service.metadata.name.clone(),
            service.metadata.namespace.as_deref() != Some(namespace),
        )
    });
    seen.dedup_by_key(|service| service.metadata.name.clone());
    seen.into_iter().flat_map(variables_of).collect()
}

fn is_visible(service: &Service, namespace: &str, links: bool) -> bool {
    let its_namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let is_api =
        its_namespace == "default" && service.metadata.name.as_deref() == Some("kubernetes");
    is_api || (links && its_namespace == namespace)
}

fn variables_of(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (Some(ip), Some(first)) = (spec.cluster_ip.as_deref(), ports.first()) else {
        return Vec::new();
    };
    if ip.is_empty() || ip == "None" {
        return Vec::new();
    }
    let prefix = as_variable(service.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    };
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((
                format!("{prefix}_SERVICE_PORT_{}", as_variable(name)),
                port.port.to_string(),
            ));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((base.clone(), url));
        variables.push((format!("{base}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{base}_PORT"), port.port.to_string()));
        variables.push((format!("{base}_ADDR"), ip.to_owned()));
    }
    variables
}

fn as_variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str, ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip, "ports": ports},
        }))
        .expect("a service")
    }

    fn names(variables: &[(String, String)]) -> Vec<&str> {
        variables.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn every_port_of_a_service_has_its_variables() {
        let web = service(
            "a",
            "my-web",
            "10.96.0.7",
            json!([{"name": "http-x", "port": 80, "protocol": "TCP"}]),
        );
        let variables = service_variables(&[web], "a", true);
        let value = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(value("MY_WEB_SERVICE_HOST"), Some("10.96.0.7"));
        assert_eq!(value("MY_WEB_SERVICE_PORT_HTTP_X"), Some("80"));
        assert_eq!(value("MY_WEB_PORT"), Some("tcp://10.96.0.7:80"));
        assert_eq!(value("MY_WEB_PORT_80_TCP_ADDR"), Some("10.96.0.7"));
    }

    #[test]
    fn without_links_only_the_api_is_named() {
        let services = [
            service(
                "default",
                "kubernetes",
                "10.96.0.1",
                json!([{"name": "https", "port": 443}]),
            ),
            service("a", "web", "10.96.0.7", json!([{"port": 80}])),
        ];
        assert!(
            names(&service_variables(&services, "a", false))
                .iter()
                .all(|name| name.starts_with("KUBERNETES_"))
        );
        assert!(names(&service_variables(&services, "a", true)).contains(&"WEB_SERVICE_HOST"));
    }

    #[test]
    fn a_headless_service_and_another_namespace_are_not_named() {
        let services = [
            service("a", "headless", "None", json!([{"port": 80}])),
            service("b", "other", "10.96.0.9", json!([{"port": 80}])),
        ];
        assert_eq!(service_variables(&services, "a", true), Vec::new());
    }
}
