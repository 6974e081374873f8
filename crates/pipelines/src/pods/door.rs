//! Where step pods reach the API of Pipelines, when they bring and take their artifacts through it. An address, not a
//! name: the launcher runs in images without a resolver.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::sync::OnceCell;

/// The Service of the API, and its port's name.
const SERVICE: (&str, &str) = ("ml-pipeline", "http");
/// How often its address is asked for before a step fails.
const TRIES: u32 = 20;

/// The way to the API.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<OnceCell<String>>);

impl Door {
    /// At a known `http://ADDRESS:PORT`.
    pub fn at(url: String) -> Self {
        Self(Arc::new(OnceCell::new_with(Some(url))))
    }

    /// Its address: given, or that of the Service.
    pub async fn url(&self, client: &Client, namespace: &str) -> Result<String, String> {
        self.0
            .get_or_try_init(|| of_service(client, namespace))
            .await
            .cloned()
    }
}

async fn of_service(client: &Client, namespace: &str) -> Result<String, String> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let mut tries = 0;
    loop {
        let problem = match services.get(SERVICE.0).await {
            Ok(service) => match url(&service) {
                Some(url) => return Ok(url),
                None => "it has no address yet".to_owned(),
            },
            Err(problem) => problem.to_string(),
        };
        tries += 1;
        if tries == TRIES {
            return Err(format!(
                "its artifacts go through the Service {}, whose address is not known: {problem}",
                SERVICE.0
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn url(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let address: std::net::IpAddr = spec.cluster_ip.as_deref()?.parse().ok()?;
    let port = spec
        .ports
        .iter()
        .flatten()
        .find(|port| port.name.as_deref() == Some(SERVICE.1))?
        .port;
    let port = u16::try_from(port).ok()?;
    Some(format!(
        "http://{}",
        std::net::SocketAddr::from((address, port))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_services_own() {
        let service = |ip: &str| -> Service {
            serde_json::from_value(serde_json::json!({"spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 8888}]}})).unwrap()
        };
        assert_eq!(
            url(&service("10.0.0.7")).as_deref(),
            Some("http://10.0.0.7:8888")
        );
        assert_eq!(
            url(&service("fd00::7")).as_deref(),
            Some("http://[fd00::7]:8888")
        );
        assert_eq!(url(&service("None")), None);
    }
}
