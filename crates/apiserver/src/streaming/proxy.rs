//! The HTTP proxy to pods, Services and nodes.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::LOCATION;
use http::{Method, StatusCode};
use objects::Status;
use serde_json::Value;

use super::{forward, kubelet};
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::verbs::{Call, Reply};

/// `…/proxy` and everything below it.
pub async fn run(call: &Call, rest: &str, request: Request) -> Result<Reply, ApiError> {
    if rest.is_empty()
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && !forward::is_upgrade(request.headers())
    {
        // Relative links in the answer only work below a directory.
        let to = format!(
            "{}/{}",
            request.uri().path(),
            request
                .uri()
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default()
        );
        let response = http::Response::builder()
            .status(StatusCode::MOVED_PERMANENTLY)
            .header(LOCATION, to)
            .body(axum::body::Body::empty())
            .map_err(ApiError::internal)?;
        return Ok(Reply::Response(Box::new(response)));
    }
    let query = request
        .uri()
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let target = format!("{}{query}", if rest.is_empty() { "/" } else { rest });
    let place = Place::parse(&call.name)?;
    let (connection, host) = match call.resource.kind.as_str() {
        "Node" => {
            if place.port.is_some_and(|port| port != "10250") {
                return Err(ApiError::bad_request(
                    "only the kubelet's own port of a node can be proxied",
                ));
            }
            (
                kubelet::connect(call, place.name).await?,
                place.name.to_owned(),
            )
        }
        "Pod" => dial(call, &place, pod(call, &place)?).await?,
        _ => dial(call, &place, service(call, &place)?).await?,
    };
    let response = forward::send(connection, request, &target, &host, &call.user).await?;
    Ok(Reply::Response(Box::new(response)))
}

/// `[scheme:]name[:port]`, as the last path segment before `/proxy` has it.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    is_tls: bool,
    name: &'a str,
    port: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, None),
            [name, port] => ("", *name, Some(*port)),
            [scheme, name, port] => (*scheme, *name, Some(*port)),
            _ => {
                return Err(ApiError::bad_request(format!(
                    "invalid proxy target {text:?}"
                )));
            }
        };
        if !matches!(scheme, "" | "http" | "https") {
            return Err(ApiError::bad_request(format!(
                "invalid proxy target {text:?}: unknown scheme {scheme:?}"
            )));
        }
        Ok(Self {
            is_tls: scheme == "https",
            name,
            port: port.filter(|port| !port.is_empty()),
        })
    }
}

async fn dial(
    call: &Call,
    place: &Place<'_>,
    (address, port): (String, u16),
) -> Result<(Box<dyn crate::backend::Stream>, String), ApiError> {
    check_address(&address)?;
    let connection = call
        .api
        .backend
        .dial(&call.namespace, &address, port)
        .await
        .map_err(|err| {
            let words = format!("error trying to reach service: dial tcp {address}:{port}: {err}");
            ApiError::from(Status::unavailable(words))
        })?;
    let host = format!("{address}:{port}");
    if !place.is_tls {
        return Ok((connection, host));
    }
    let connection = super::unverified::wrap(connection, &address).await?;
    Ok((connection, host))
}

/// Whoever may write a status or an endpoint chooses these addresses, so they must never lead back to this machine.
fn check_address(address: &str) -> Result<(), ApiError> {
    let is_outside = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast())
        }
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
                || ip.is_multicast())
                && ip.to_ipv4_mapped().is_none()
        }
        Err(_) => false,
    };
    if is_outside {
        Ok(())
    } else {
        Err(Status::forbidden("", "", "", "address not allowed").into())
    }
}

/// A pod's own address; without a port, the first one that its containers name.
fn pod(call: &Call, place: &Place<'_>) -> Result<(String, u16), ApiError> {
    let pods = call.api.builtin("", "pods");
    let pod = call
        .api
        .lookup()
        .get("", "pods", &call.namespace, place.name)
        .ok_or_else(|| ApiError::from(Status::not_found("", &pods.plural, place.name)))?;
    let ip = pod["status"]["podIP"]
        .as_str()
        .filter(|ip| !ip.is_empty())
        .ok_or_else(|| {
            ApiError::from(Status::unavailable(format!(
                "address not allowed: pod {:?} has no address yet",
                place.name
            )))
        })?;
    let containers = pod["spec"]["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut ports = containers
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let port = match place.port {
        None => ports
            .next()
            .and_then(|port| port["containerPort"].as_u64())
            .unwrap_or(80),
        Some(text) => match text.parse::<u16>() {
            Ok(number) => number.into(),
            Err(_) => ports
                .find(|port| port["name"] == text)
                .and_then(|port| port["containerPort"].as_u64())
                .ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "pod {:?} has no port named {text:?}",
                        place.name
                    ))
                })?,
        },
    };
    Ok((ip.to_owned(), port as u16))
}

/// A ready endpoint behind a Service's port.
fn service(call: &Call, place: &Place<'_>) -> Result<(String, u16), ApiError> {
    let lookup = call.api.lookup();
    let service = lookup
        .get("", "services", &call.namespace, place.name)
        .ok_or_else(|| ApiError::from(Status::not_found("", "services", place.name)))?;
    let ports = service["spec"]["ports"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let port = match place.port {
        None if ports.len() == 1 => &ports[0],
        None => ports
            .iter()
            .find(|port| port["name"].as_str().unwrap_or_default().is_empty())
            .unwrap_or(&Value::Null),
        Some(text) => {
            let number = text.parse::<u64>().ok();
            ports
                .iter()
                .find(|port| {
                    number.map_or(port["name"] == text, |number| {
                        port["port"].as_u64() == Some(number)
                    })
                })
                .unwrap_or(&Value::Null)
        }
    };
    if port.is_null() {
        let wanted = place.port.unwrap_or("");
        let words = format!(
            "no service port {wanted:?} found for service {:?}",
            place.name
        );
        return Err(Status::unavailable(words).into());
    }
    let port_name = port["name"].as_str().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in lookup.list("discovery.k8s.io", "endpointslices", &call.namespace) {
        if objects::meta::label(&slice, "kubernetes.io/service-name") != Some(place.name) {
            continue;
        }
        let slice_ports = slice["ports"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let number = slice_ports
            .iter()
            .find(|port| port["name"].as_str().unwrap_or_default() == port_name)
            .and_then(|port| port["port"].as_u64());
        let Some(number) = number else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            if let Some(address) = endpoint["addresses"][0].as_str() {
                endpoints.push((address.to_owned(), number as u16));
            }
        }
    }
    if endpoints.is_empty() {
        let words = format!("no endpoints available for service {:?}", place.name);
        return Err(Status::unavailable(words).into());
    }
    let chosen = rand::random_range(0..endpoints.len());
    Ok(endpoints.swap_remove(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_leads_back_to_this_machine() {
        for address in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "0.0.0.0",
            "::ffff:127.0.0.1",
            "fe80::1",
            "localhost",
            "",
        ] {
            assert!(check_address(address).is_err(), "{address}");
        }
        assert!(check_address("10.244.0.9").is_ok());
    }

    #[test]
    fn a_target_is_a_name_with_an_optional_scheme_and_port() {
        let place = |is_tls, name, port| Place { is_tls, name, port };
        assert_eq!(Place::parse("web").unwrap(), place(false, "web", None));
        assert_eq!(
            Place::parse("web:80").unwrap(),
            place(false, "web", Some("80"))
        );
        assert_eq!(
            Place::parse("https:web:").unwrap(),
            place(true, "web", None)
        );
        assert!(Place::parse("ftp:web:1").is_err());
    }
}
