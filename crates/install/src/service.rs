//! Waits until a Service leads to a pod. After a restart it may lead, for a moment, to the address that its pod had before,
//! and another pod has by now.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

/// Returns when the Service called `name` leads to `address`. One that does not exist leads nowhere, and nothing leads to
/// a pod without an address of its own: neither is waited for.
pub async fn leads_to(client: &Client, namespace: &str, name: &str, address: Option<String>) {
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    let is_its_own = |text: &String| {
        text.parse::<std::net::IpAddr>()
            .is_ok_and(|ip| !ip.is_loopback())
    };
    let Some(address) = address.filter(is_its_own) else {
        return;
    };
    if matches!(services.get_opt(name).await, Ok(None)) {
        return;
    }
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let selected = watcher::Config::default()
        .labels(&format!("kubernetes.io/service-name={name}"))
        .streaming_lists();
    let mut events = std::pin::pin!(kube::runtime::watcher(slices, selected));
    while let Some(event) = events.next().await {
        // The watcher backs off and lists again by itself.
        if let Ok(Event::Apply(slice) | Event::InitApply(slice)) = event
            && names(&slice, &address)
        {
            return;
        }
    }
}

/// Whether a slice sends requests to `address`.
fn names(slice: &EndpointSlice, address: &str) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        endpoint.addresses.iter().any(|known| known == address)
            && conditions.and_then(|conditions| conditions.ready) != Some(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_still_leads_to_the_last_pods_address_does_not_count() {
        let slice = |address: &str, ready: bool| {
            let endpoint =
                serde_json::json!({"addresses": [address], "conditions": {"ready": ready}});
            serde_json::from_value(
                serde_json::json!({"addressType": "IPv4", "endpoints": [endpoint]}),
            )
            .expect("a valid EndpointSlice")
        };
        assert!(!names(&slice("10.1.0.2", true), "10.1.0.3"));
        assert!(!names(&slice("10.1.0.3", false), "10.1.0.3"));
        assert!(names(&slice("10.1.0.3", true), "10.1.0.3"));
    }
}
