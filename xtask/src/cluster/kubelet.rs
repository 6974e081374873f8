//! The node: kubelet, kube-proxy and the server of Service names, all as processes beside each other.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::certificates::NODE;
use super::hold::{self, Inside, Start, answers, write};
use super::place::INSIDE;
use super::{Part, containerd, network};

/// Settings of the kernel that the kubelet wants for the whole machine, with the values it wants.
pub const WHOLE_MACHINE: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Puts plain files over the settings that are not the cluster's to change: the kubelet finds them as it
/// wants them, and this machine keeps its own.
pub fn keep_from_kernel(folder: &Path) -> Result<()> {
    for (setting, value) in WHOLE_MACHINE {
        let real = Path::new("/proc/sys").join(setting);
        if real.exists() {
            let own = folder.join(setting.replace('/', "."));
            write(&own, &format!("{value}\n"))?;
            hold::bind(&own, &real)?;
        }
    }
    Ok(())
}

/// Starts the kubelet; it is ready when the node is.
pub fn start(inside: &Inside) -> Result<Start> {
    let node = inside.record.node_address;
    let config = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": inside.key("ca.crt")}, "webhook": {"enabled": true}, "anonymous": {"enabled": false}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": inside.key("kubelet-serving.crt"),
        "tlsPrivateKeyFile": inside.key("kubelet-serving.key"),
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", inside.record.mark),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "clusterDNS": [node],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver(inside)?,
        "volumePluginDir": "/run/flex-volumes",
        "staticPodPath": "",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi"},
    });
    let path = inside.place.root().join("kubelet.json");
    write(&path, &config.to_string())?;
    let mut command = inside.command(Part::Kubelet);
    command
        .arg(format!("--config={}", path.display()))
        .arg(format!("--kubeconfig={}", inside.key("kubelet.kubeconfig")))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={node}"));
    Ok(Start {
        command,
        is_ready: Box::new(|inside| {
            let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
            let said = inside.kubectl(&["get", "node", NODE, "-o", path])?;
            if said.contains(r#""status":"True""#) {
                return Ok(());
            }
            bail!("the node is not ready: {said}")
        }),
    })
}

/// Names outside the cluster: none is answered, so that no test depends on one.
fn resolver(inside: &Inside) -> Result<String> {
    let path = inside.place.root().join("resolv.conf");
    write(
        &path,
        &format!("nameserver {}\n", inside.record.node_address),
    )?;
    Ok(path.display().to_string())
}

/// Starts kube-proxy.
pub fn proxy(inside: &Inside) -> Result<Start> {
    let mut command = inside.command(Part::KubeProxy);
    command
        .arg(format!(
            "--kubeconfig={}",
            inside.key("kube-proxy.kubeconfig")
        ))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--cluster-cidr={}", network::PODS))
        .args(["--proxy-mode=iptables", "--conntrack-max-per-core=0"]);
    Ok(Start {
        command,
        is_ready: Box::new(|_| answers("127.0.0.1:10256", "/livez")),
    })
}

/// Starts CoreDNS on the node's address.
pub fn dns(inside: &Inside) -> Result<Start> {
    let node = inside.record.node_address;
    let path = inside.place.root().join("Corefile");
    write(
        &path,
        &format!(
            ".:53 {{
    bind {node}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        pods insecure
        ttl 5
    }}
    cache 5
}}
",
            inside.key("coredns.kubeconfig")
        ),
    )?;
    let mut command = inside.command(Part::Dns);
    command.arg("-conf").arg(path).current_dir(INSIDE);
    Ok(Start {
        command,
        is_ready: Box::new(|_| answers("127.0.0.1:8181", "/ready").context("ask CoreDNS")),
    })
}
