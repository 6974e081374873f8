//! Reaching a node's kubelet: in this process through a pipe, elsewhere over TLS to the address in its Node's status.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use objects::Status;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;

use super::forward;
use crate::backend::Stream;
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::verbs::Call;

/// Bytes in flight through the pipe to a kubelet in this process.
const PIPE_BYTES: usize = 64 << 10;

/// The node of a pod, once it has one.
pub(super) fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"]
        .as_str()
        .filter(|node| !node.is_empty())
}

/// A failure of a kubelet's service, with a concrete type that hyper can pass on.
#[derive(Debug, thiserror::Error)]
#[error("the kubelet failed")]
struct KubeletError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A connection on which the kubelet of `node` speaks HTTP.
pub(super) async fn connect(call: &Call, node: &str) -> Result<Box<dyn Stream>, ApiError> {
    if let Some(service) = call.api.backend.kubelet(node) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let service =
            hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let service = service.clone();
                async move {
                    tower::ServiceExt::oneshot(service, request.map(Body::new))
                        .await
                        .map_err(KubeletError)
                }
            });
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(far), service)
                .with_upgrades()
                .await;
            if let Err(err) = served {
                tracing::debug!(error = %err, "pipe to the kubelet ended");
            }
        });
        return Ok(Box::new(near));
    }
    over_network(call, node).await
}

async fn over_network(call: &Call, node: &str) -> Result<Box<dyn Stream>, ApiError> {
    let object = call
        .api
        .lookup()
        .get("", "nodes", "", node)
        .ok_or_else(|| ApiError::from(Status::not_found("", "nodes", node)))?;
    let addresses = object["status"]["addresses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let address = ["InternalIP", "Hostname", "ExternalIP"]
        .iter()
        .find_map(|kind| addresses.iter().find(|address| address["type"] == *kind))
        .and_then(|address| address["address"].as_str());
    let port = object["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let (Some(address), Some(port)) = (address, port) else {
        let words = format!(
            "node {node:?} does not say where its kubelet listens (status.addresses, status.daemonEndpoints)"
        );
        return Err(ApiError::internal(words));
    };
    let unreachable = |err: &dyn std::fmt::Display| {
        let words =
            format!("error dialing the kubelet of node {node:?} at {address}:{port}: {err}");
        ApiError::from(Status::failure(502, "InternalError", words))
    };
    let stream = tokio::net::TcpStream::connect((address, port as u16))
        .await
        .map_err(|err| unreachable(&err))?;
    let config = client_config(call).map_err(|err| unreachable(&err))?;
    let name = match address.parse::<IpAddr>() {
        Ok(ip) => ServerName::IpAddress(ip.into()),
        Err(_) => ServerName::try_from(address.to_owned()).map_err(|err| unreachable(&err))?,
    };
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|err| unreachable(&err))?;
    Ok(Box::new(stream))
}

/// TLS towards kubelets: our authority, and a certificate that says who we are.
fn client_config(
    call: &Call,
) -> Result<Arc<rustls::ClientConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let keys = &call.api.keys;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        keys.ca_certificate().as_bytes(),
    )?)?;
    let identity = keys.client_certificate("kube-apiserver-kubelet-client", &["system:masters"])?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(
                identity.certificate.as_bytes(),
            )?],
            PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
        )?;
    Ok(Arc::new(config))
}

/// Sends one ordinary request to the kubelet of `node`.
pub(super) async fn request(
    call: &Call,
    node: &str,
    request: http::Request<Body>,
) -> Result<Response, ApiError> {
    forward::exchange(connect(call, node).await?, request).await
}

/// A refusal of the kubelet in our own form.
pub(super) async fn failure(response: Response) -> ApiError {
    let code = response.status();
    let text = match response.into_body().collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes())
            .trim()
            .to_owned(),
        Err(err) => err.to_string(),
    };
    match serde_json::from_str::<Status>(&text) {
        Ok(status) if status.kind == "Status" && status.code >= 400 => status.into(),
        _ if code == StatusCode::NOT_FOUND => Status::failure(404, "NotFound", text).into(),
        _ if code == StatusCode::BAD_REQUEST => ApiError::bad_request(text),
        _ => ApiError::internal(format!("the kubelet answered {}: {text}", code.as_u16())),
    }
}
