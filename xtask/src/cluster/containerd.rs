//! What runs containers: containerd, Debian's or a newer one, and Debian's runc, told what this kind of machine allows.

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
    // A version of Kubernetes may have brought a newer one than Debian's, with its own shim beside it.
    let brought = inside.place.program("containerd");
    let mut command = if brought.is_file() {
        Command::new(brought)
    } else {
        Command::new("containerd")
    };
    let own = inside.place.program("");
    let path_variable = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(own).chain(std::env::split_paths(&path_variable));
    command
        .arg("--config")
        .arg(path)
        .env("PATH", std::env::join_paths(folders)?);
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
