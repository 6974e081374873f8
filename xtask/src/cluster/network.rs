//! The cluster's network: a namespace of its own, joined to this machine by one link, so that bridges,
//! routes and every iptables rule inside end with it. Pods get a link and a route each, no bridge: all
//! they send passes the node's tables, which Service addresses need.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::place::{INSIDE, Place, Record};

/// Addresses of Services, and the API server's own.
pub const SERVICES: &str = "10.96.0.0/16";
/// The first of them.
pub const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Addresses of pods.
pub const PODS: &str = "10.244.0.0/24";
/// The link's name inside.
const INNER: &str = "eth0";

/// Joins the network of `process` to this machine's.
pub fn join(place: &Place, record: &Record, process: u32) -> Result<()> {
    let outer = place.mark();
    let process = process.to_string();
    ip(&[
        "link", "add", &outer, "type", "veth", "peer", "name", INNER, "netns", &process,
    ])?;
    ip(&[
        "address",
        "add",
        &format!("{}/30", record.host_address),
        "dev",
        &outer,
    ])?;
    ip(&["link", "set", &outer, "up"])
}

/// Whether this machine's end of the link is there.
pub fn is_joined(place: &Place) -> bool {
    Path::new("/sys/class/net").join(place.mark()).exists()
}

/// Sets up the inside, once the link is there.
pub fn enter(record: &Record) -> Result<()> {
    let has_link =
        || fs::read_to_string("/proc/net/dev").is_ok_and(|devices| devices.contains("eth0:"));
    for _ in 0..500 {
        if has_link() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    if !has_link() {
        bail!("the link to this machine did not come within 10 s");
    }
    ip(&["link", "set", "lo", "up"])?;
    ip(&[
        "address",
        "add",
        &format!("{}/30", record.node_address),
        "dev",
        INNER,
    ])?;
    ip(&["link", "set", INNER, "up"])?;
    ip(&[
        "route",
        "add",
        "default",
        "via",
        &record.host_address.to_string(),
    ])?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("turn on forwarding in the cluster")
}

/// What containerd does for each pod.
pub fn write_pod_network(cni: &Path) -> Result<()> {
    let list = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": format!("{INSIDE}/run/addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    fs::write(cni.join("10-pods.conflist"), list.to_string()).context("write the pod network")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("start ip (Debian: iproute2)")?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )
}
