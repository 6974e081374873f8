//! The node's own objects: its Node, with what it offers and how it is, and the Lease that says it lives.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::record::whole_seconds;

/// What the node says about itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its address, as pods and the API server see it.
    pub address: IpAddr,
    /// Where its HTTP API listens, or 0 where it is only reached in process.
    pub port: u16,
    /// What it has and offers, by resource.
    pub resources: BTreeMap<String, String>,
    /// How pods are kept apart: `sandbox` or `process`.
    pub isolation: &'static str,
}

const LEASE_SECONDS: i32 = 40;
const BEAT: std::time::Duration = std::time::Duration::from_secs(10);

/// What our nodes call what runs their containers.
const RUNTIME: &str = "ferroflow://";

/// Why the node's own objects could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its pods would be run twice, and their status written by two.
    #[error(
        "a node of that name is there already, and {runtime} runs its pods; take another name, or delete that node once its kubelet has ended"
    )]
    Taken {
        /// What runs containers on that node.
        runtime: String,
    },
    /// The API refused to read or write them.
    #[error("asking the API server")]
    Refused(#[from] kube::Error),
}

/// Whether the name is free, or ours already. Asked before anything is made on this machine.
pub async fn is_free(client: &Client, name: &str) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    match nodes
        .get_opt(name)
        .await?
        .as_ref()
        .and_then(foreign_runtime)
    {
        Some(runtime) => Err(Error::Taken {
            runtime: runtime.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Makes the Node, or brings an existing one of ours up to date. Labels and taints that others set stay.
pub async fn register(client: &Client, identity: &Identity) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels = json!({
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": std::env::consts::OS,
        "kubernetes.io/arch": architecture(),
        "beta.kubernetes.io/os": std::env::consts::OS,
        "beta.kubernetes.io/arch": architecture(),
        "ferroflow.io/isolation": identity.isolation,
    });
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": identity.name, "labels": labels},
        "spec": {},
    });
    if nodes.get_opt(&identity.name).await?.is_none() {
        let node: Node = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        match nodes.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
    } else {
        let labels = json!({"metadata": {"labels": labels}});
        nodes
            .patch(
                &identity.name,
                &PatchParams::default(),
                &Patch::Merge(&labels),
            )
            .await?;
    }
    publish(client, identity, true).await
}

/// What runs the containers of a node that is not ours.
fn foreign_runtime(node: &Node) -> Option<&str> {
    let runtime = &node
        .status
        .as_ref()?
        .node_info
        .as_ref()?
        .container_runtime_version;
    (!runtime.is_empty() && !runtime.starts_with(RUNTIME)).then_some(runtime)
}

/// Writes the Node's status.
pub async fn publish(
    client: &Client,
    identity: &Identity,
    is_ready: bool,
) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let before = nodes.get_opt(&identity.name).await?;
    let status = status(identity, before.as_ref(), is_ready, Timestamp::now());
    nodes
        .patch_status(
            &identity.name,
            &PatchParams::default(),
            &Patch::Strategic(json!({"status": status})),
        )
        .await?;
    Ok(())
}

/// Renews the Lease every ten seconds and the status every five minutes, until `shutdown`; then says that the node is
/// not ready any more.
pub async fn keep_alive(client: Client, identity: Identity, shutdown: CancellationToken) {
    let mut beats = 0u64;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(if beats == 0 {
            std::time::Duration::ZERO
        } else {
            BEAT
        }))
        .await
        .is_some()
    {
        if let Err(error) = renew(&client, &identity.name).await {
            tracing::warn!(error = %error, "renewing the node's lease failed");
        }
        beats += 1;
        if beats.is_multiple_of(30)
            && let Err(error) = publish(&client, &identity, true).await
        {
            tracing::warn!(error = %error, "writing the node's status failed");
        }
    }
}

async fn renew(client: &Client, node: &str) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let now = Timestamp::now();
    let renew_time = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let spec = json!({"holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renew_time});
    match leases
        .patch(
            node,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": spec})),
        )
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let lease =
                json!({"metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": spec});
            let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            leases
                .create(&PostParams::default(), &lease)
                .await
                .map(drop)
        }
        other => other.map(drop),
    }
}

fn status(identity: &Identity, before: Option<&Node>, is_ready: bool, now: Timestamp) -> Value {
    let now_text = whole_seconds(now).to_string();
    let conditions = [
        (
            "MemoryPressure",
            false,
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            false,
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            false,
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        if is_ready {
            (
                "Ready",
                true,
                "KubeletReady",
                "kubelet is posting ready status",
            )
        } else {
            ("Ready", false, "KubeletNotReady", "node is shutting down")
        },
    ];
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, holds, reason, message)| {
            let status = if *holds { "True" } else { "False" };
            let since = before
                .and_then(|node| node.status.as_ref()?.conditions.as_ref())
                .and_then(|conditions| {
                    conditions
                        .iter()
                        .find(|c| c.type_ == *type_ && c.status == status)
                })
                .and_then(|condition| condition.last_transition_time.clone())
                .map_or_else(|| now_text.clone(), |time| time.0.to_string());
            json!({
                "type": type_, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now_text, "lastTransitionTime": since,
            })
        })
        .collect();
    json!({
        "capacity": identity.resources,
        "allocatable": identity.resources,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": identity.address.to_string()},
            {"type": "Hostname", "address": identity.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": identity.port}},
        "nodeInfo": node_info(),
    })
}

fn node_info() -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let os_release = read("/etc/os-release");
    let os_image = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'))
        .to_owned();
    json!({
        "architecture": architecture(),
        "bootID": read("/proc/sys/kernel/random/boot_id"),
        "containerRuntimeVersion": format!("{RUNTIME}{}", env!("CARGO_PKG_VERSION")),
        "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.33.13+ferroflow",
        "machineID": read("/etc/machine-id"),
        "operatingSystem": std::env::consts::OS,
        "osImage": os_image,
        "systemUUID": read("/etc/machine-id"),
    })
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "n".into(),
            address: "10.1.0.1".parse().expect("an address"),
            port: 10250,
            resources: [("cpu".to_owned(), "2".to_owned())].into(),
            isolation: "sandbox",
        }
    }

    fn ready(status: &Value) -> &Value {
        status["conditions"]
            .as_array()
            .expect("conditions")
            .iter()
            .find(|c| c["type"] == "Ready")
            .expect("ready")
    }

    #[test]
    fn a_node_that_another_kubelet_runs_is_told_from_ours() {
        let node = |runtime: &str| -> Node {
            let mut status = status(&identity(), None, true, Timestamp::UNIX_EPOCH);
            status["nodeInfo"]["containerRuntimeVersion"] = json!(runtime);
            serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a node")
        };
        assert_eq!(foreign_runtime(&node("ferroflow://0.1.0")), None);
        assert_eq!(
            foreign_runtime(&node("containerd://1.7.0")),
            Some("containerd://1.7.0")
        );
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let first = status(&identity(), None, true, at(10));
        let node: Node =
            serde_json::from_value(json!({"metadata": {}, "status": first})).expect("a node");
        let later = status(&identity(), Some(&node), true, at(20));
        assert_eq!(ready(&later)["lastTransitionTime"], at(10).to_string());
        assert_eq!(ready(&later)["lastHeartbeatTime"], at(20).to_string());
        let down = status(&identity(), Some(&node), false, at(30));
        assert_eq!(ready(&down)["lastTransitionTime"], at(30).to_string());
        assert_eq!(ready(&down)["status"], "False");
    }
}
