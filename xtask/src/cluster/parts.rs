//! What a cluster consists of, in the order in which it starts, and what of it runs.

use std::fs;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Place;

/// One process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The store below the API server.
    Etcd,
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// What runs containers.
    Containerd,
    /// The node.
    Kubelet,
    /// Service addresses.
    KubeProxy,
    /// Service names.
    Dns,
}

/// A part that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Optional {
    /// Nothing acts on Deployments, Jobs, namespaces being deleted, …
    ControllerManager,
    /// Nothing binds pods.
    Scheduler,
    /// No node, and so no containers, Service addresses or names.
    Kubelet,
}

impl Part {
    /// The parts that are one program under several names.
    pub const OF_KUBERNETES: [Self; 5] = [
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::KubeProxy,
    ];

    /// All but those left out, in the order in which they start.
    pub fn chosen(control_plane_only: bool, without: &[Optional]) -> Vec<Self> {
        let has = |part| !control_plane_only && !without.contains(&part);
        let mut parts = vec![Self::Etcd, Self::ApiServer];
        if has(Optional::ControllerManager) {
            parts.push(Self::ControllerManager);
        }
        if has(Optional::Scheduler) {
            parts.push(Self::Scheduler);
        }
        if has(Optional::Kubelet) {
            // The proxy looks the node up, and guesses its address where there is none.
            parts.extend([Self::Containerd, Self::Dns, Self::Kubelet, Self::KubeProxy]);
        }
        parts
    }

    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Dns => "coredns",
        }
    }
}

/// Prints what runs in `place` and what it takes.
pub fn status(place: &Place) -> Result<()> {
    let Some(record) = place.running()? else {
        println!("no cluster runs in {}", place.root().display());
        return Ok(());
    };
    let first = record.process.as_ref().map_or(0, |process| process.pid);
    println!("Kubernetes {} at {}", record.kubernetes, record.server());
    let children = children_of(first);
    let mut total_kib = 0;
    for part in &record.parts {
        match children
            .iter()
            .find(|child| child.name == clipped(part.program()))
        {
            Some(child) => {
                total_kib += child.resident_kib;
                println!("{:>6} MB  {}", child.resident_kib / 1024, part.program());
            }
            None => println!(
                "   gone     {} (see {})",
                part.program(),
                place.log(part.program()).display()
            ),
        }
    }
    println!("{:>6} MB  together", total_kib / 1024);
    println!("{}", place.kubeconfig().display());
    Ok(())
}

struct Child {
    name: String,
    resident_kib: u64,
}

/// The kernel keeps fifteen letters of a process's name.
fn clipped(name: &str) -> &str {
    &name[..name.len().min(15)]
}

fn children_of(parent: u32) -> Vec<Child> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter_map(|status| {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                Some(line.trim().trim_end_matches(" kB").to_owned())
            };
            (field("PPid:")? == parent.to_string()).then_some(())?;
            Some(Child {
                name: field("Name:")?,
                resident_kib: field("VmRSS:")
                    .and_then(|kib| kib.parse().ok())
                    .unwrap_or(0),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_plane_alone_is_the_store_and_the_api_server() {
        assert_eq!(Part::chosen(true, &[]), [Part::Etcd, Part::ApiServer]);
    }

    #[test]
    fn without_a_kubelet_nothing_of_a_node_starts() {
        let parts = Part::chosen(false, &[Optional::Kubelet]);
        assert_eq!(
            parts,
            [
                Part::Etcd,
                Part::ApiServer,
                Part::ControllerManager,
                Part::Scheduler
            ]
        );
    }

    #[test]
    fn the_proxy_starts_after_the_kubelet_whose_node_it_looks_up() {
        let parts = Part::chosen(false, &[]);
        assert!(parts.ends_with(&[Part::Kubelet, Part::KubeProxy]));
    }
}
