//! What runs containers: Debian's containerd and runc, told what this kind of machine allows.

use std::process::Command;

use anyhow::{Result, bail};

use super::hold::{Inside, Start, write};
use super::place::INSIDE;
use super::{images, network, registries};

/// Where it listens, inside.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Starts containerd.
pub fn start(inside: &Inside) -> Result<Start> {
    let root = inside.place.root();
    network::write_pod_network(&root.join("cni"))?;
    registries::write_hosts(&root.join("registries"), inside.record.host_address)?;
    // `restrict_oom_score_adj`: where root lacks CAP_SYS_RESOURCE no pod would start without it.
    let config = format!(
        "version = 2
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
[grpc]
address = \"{SOCKET}\"
[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"{pause}\"
restrict_oom_score_adj = true
[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = \"/usr/lib/cni\"
conf_dir = \"{INSIDE}/cni\"
[plugins.\"io.containerd.grpc.v1.cri\".registry]
config_path = \"{INSIDE}/registries\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd]
snapshotter = \"overlayfs\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
SystemdCgroup = false
",
        pause = images::PAUSE,
    );
    let path = root.join("containerd.toml");
    write(&path, &config)?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(path);
    Ok(Start {
        command,
        is_ready: Box::new(|_| ctr(&["plugins", "ls", "-q"]).map(drop)),
    })
}

/// containerd's own client, inside.
pub fn ctr(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ctr")
        .args(["--address", SOCKET, "--namespace", "k8s.io"])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!(
            "ctr {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
