//! A cluster's folder and the record in it. Outside its namespaces the folder is wherever it was asked
//! for; inside it is always `/mnt`, so that sockets' paths stay short and no part knows the host's names.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Part;
use super::build::Built;
use super::cell;
use crate::paths;

/// Where the folder is seen inside the cluster's namespaces.
pub const INSIDE: &str = "/mnt";

/// One cluster's folder.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
}

/// What was started, kept in the folder while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of Kubernetes.
    pub kubernetes: String,
    /// What runs.
    pub parts: Vec<Part>,
    /// The folder's own word, in the names of its cgroups and of the link.
    pub mark: String,
    /// This machine's end of the link into the cluster's network.
    pub host_address: Ipv4Addr,
    /// The node's end, where everything of the cluster is reached.
    pub node_address: Ipv4Addr,
    /// The first process, as this machine sees it, once it runs.
    pub process: Option<cell::Process>,
}

impl Record {
    /// The record of a cluster that is about to start.
    pub fn new(place: &Place, kubernetes: &str, parts: Vec<Part>) -> Self {
        // 198.18.0.0/15 is set aside for test networks, so nothing real is hidden by it. Each folder takes
        // four addresses of it.
        let slot = u32::from_be_bytes(place.digest()[..4].try_into().expect("four bytes"));
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (slot % (1 << 15)) * 4;
        Self {
            kubernetes: kubernetes.to_owned(),
            parts,
            mark: place.mark(),
            host_address: Ipv4Addr::from(base + 1),
            node_address: Ipv4Addr::from(base + 2),
            process: None,
        }
    }

    /// Where the API server is reached.
    pub fn server(&self) -> String {
        format!("https://{}:6443", self.node_address)
    }
}

impl Place {
    /// The place at `dir`, else the usual one in the cache.
    pub fn at(dir: Option<PathBuf>) -> Result<Self> {
        let root = dir.unwrap_or_else(|| paths::cache().join("cluster/home"));
        let root = std::path::absolute(&root)
            .with_context(|| format!("make {} an absolute path", root.display()))?;
        Ok(Self { root })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Certificates, keys and the parts' own kubeconfigs.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// A program of the cluster.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// What a part writes.
    pub fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }

    /// Lines that the first process writes as it starts the others.
    pub fn progress(&self) -> PathBuf {
        self.root.join("logs/progress")
    }

    /// A word of ten letters that is this folder's alone, for the names of links and cgroups.
    pub fn mark(&self) -> String {
        let mut mark = String::from("ff");
        for byte in &self.digest()[..4] {
            mark += &format!("{byte:02x}");
        }
        mark
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.root.as_os_str().as_encoded_bytes()).into()
    }

    /// Folders and programs, before anything starts.
    pub fn prepare(&self, built: &Built) -> Result<()> {
        for folder in [
            "bin", "keys", "logs", "images", "etcd", "run", "var-lib", "var-log", "cni", "sysctl",
        ] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        for (program, name) in built.programs() {
            link_or_copy(program, &self.program(name))?;
        }
        for part in Part::OF_KUBERNETES {
            let name = self.program(part.program());
            let _ = fs::remove_file(&name);
            std::os::unix::fs::symlink("kubernetes", &name)
                .with_context(|| format!("link {}", name.display()))?;
        }
        Ok(())
    }

    /// The record of the cluster that runs here, if one does.
    pub fn running(&self) -> Result<Option<Record>> {
        let Some(record) = self.record()? else {
            return Ok(None);
        };
        let is_alive = record.process.as_ref().is_some_and(cell::Process::is_alive);
        let is_ready = fs::read_to_string(self.progress())
            .is_ok_and(|text| text.lines().any(|line| line == super::hold::READY));
        Ok((is_alive && is_ready).then_some(record))
    }

    /// The record here, whether or not its cluster still runs.
    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.root.join("cluster.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("read {}", path.display()))
    }

    /// Keeps the record.
    pub fn keep(&self, record: &Record) -> Result<()> {
        let path = self.root.join("cluster.json");
        fs::write(&path, serde_json::to_string_pretty(record)?)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Forgets everything but the logs.
    pub fn forget(&self) -> Result<()> {
        for name in [
            "cluster.json",
            "kubeconfig",
            "bin",
            "keys",
            "images",
            "etcd",
            "run",
            "var-lib",
            "var-log",
            "cni",
            "registries",
            "sysctl",
            "containerd.toml",
            "kubelet.json",
            "resolv.conf",
            "Corefile",
            ".kube",
        ] {
            let path = self.root.join(name);
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A file under another name: the same one where the file system allows it.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
