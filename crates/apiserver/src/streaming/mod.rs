//! Requests that end in a pod, a Service or a kubelet: logs, exec, attach, port-forward, proxy.
//!
//! An upgraded connection is passed through byte by byte, so whatever protocol client and kubelet agree on
//! (WebSocket channels, SPDY) is theirs alone. Only what no kubelet speaks is taken out of its WebSocket here.

pub mod exec;
mod forward;
mod kubelet;
pub mod log;
pub mod proxy;
mod unverified;
mod websocket;

use serde_json::Value;

use crate::error::ApiError;

/// The container that a request means: the named one, the default one, or the only one.
fn container(pod: &Value, wanted: Option<&str>) -> Result<String, ApiError> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().into_iter().flatten();
        list.filter_map(|container| container["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let (main, init, ephemeral) = (
        names("containers"),
        names("initContainers"),
        names("ephemeralContainers"),
    );
    if let Some(wanted) = wanted {
        let known = main
            .iter()
            .chain(&init)
            .chain(&ephemeral)
            .any(|name| name == wanted);
        return if known {
            Ok(wanted.to_owned())
        } else {
            let pod = objects::meta::name(pod);
            Err(ApiError::bad_request(format!(
                "container {wanted} is not valid for pod {pod}"
            )))
        };
    }
    if let Some(default) = objects::meta::annotation(pod, "kubectl.kubernetes.io/default-container")
        && main.iter().any(|name| name == default)
    {
        return Ok(default.to_owned());
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let mut words = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                objects::meta::name(pod),
                main.join(" ")
            );
            if !init.is_empty() {
                words.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            Err(ApiError::bad_request(words))
        }
    }
}

/// Joins query parameters.
fn query(parameters: &[(&str, String)]) -> String {
    let encode = crate::http::path::encode;
    parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}
