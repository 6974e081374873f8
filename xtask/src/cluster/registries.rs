//! Which registries the node asks: two on this machine's end of the link, in plain HTTP, if tests start any there. The
//! open one stands for the public one too, so that nothing beyond this machine is ever asked for an image.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};

use super::hold::write;

/// The ports of the registry for all and of the one that may want a password.
const PORTS: [u16; 2] = [5000, 5001];

/// Writes what containerd reads whenever it pulls.
pub fn write_hosts(folder: &Path, address: Ipv4Addr) -> Result<()> {
    let [open, _] = PORTS.map(|port| format!("{address}:{port}"));
    let public = ["docker.io".to_owned(), "_default".to_owned()].map(|name| (name, open.clone()));
    let own = PORTS.map(|port| format!("{address}:{port}"));
    let own = own.map(|host| (host.clone(), host));
    for (name, host) in public.into_iter().chain(own) {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let text = format!(
            "server = \"http://{host}\"\n[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        write(folder.join("hosts.toml"), &text)?;
    }
    Ok(())
}
