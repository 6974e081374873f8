//! The cluster's programs: ours from the Go modules in tests/cluster, built once; the rest from Debian packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Part;
use crate::{go, setup};

/// A version of Kubernetes with a Go module in tests/cluster.
pub struct Version {
    /// As in `kubectl version`.
    pub number: &'static str,
    /// Its folder in tests/cluster.
    folder: &'static str,
}

/// The versions, the usual one first.
pub const VERSIONS: [Version; 2] = [
    Version {
        number: "1.33.13",
        folder: "kubernetes-1.33",
    },
    Version {
        number: "1.36.3",
        folder: "kubernetes-1.36",
    },
];

/// Refuses a version that has no module here.
pub fn known_version(number: &str) -> Result<String, String> {
    let known = VERSIONS.map(|version| version.number);
    if known.contains(&number) {
        return Ok(number.to_owned());
    }
    Err(format!("known versions are {}", known.join(" and ")))
}

/// Programs that a cluster takes into its folder.
pub struct Built(Vec<(PathBuf, &'static str)>);

impl Built {
    /// Each program with the name it gets.
    pub fn programs(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        self.0.iter().map(|(path, name)| (path.as_path(), *name))
    }
}

/// Builds what is missing for `parts`.
pub fn everything(kubernetes: &str, parts: &[Part]) -> Result<Built> {
    let version = VERSIONS
        .iter()
        .find(|version| version.number == kubernetes)
        .context("no such version")?;
    let mut built = vec![
        (
            module(
                &format!("Kubernetes {kubernetes}"),
                version.folder,
                &format!("kubernetes-{kubernetes}"),
                &stamp(kubernetes),
            )?,
            "kubernetes",
        ),
        (setup::kubectl()?.pop().context("find kubectl")?, "kubectl"),
    ];
    if parts.contains(&Part::Kubelet) {
        built.push((pause()?, "pause"));
        built.push((module("CoreDNS", "dns", "coredns", "")?, "coredns"));
    }
    Ok(Built(built))
}

/// Linker flags that make every part say its version.
pub fn stamp(kubernetes: &str) -> String {
    let mut numbers = kubernetes.split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let version = "k8s.io/component-base/version";
    format!(
        "-X {version}.gitVersion=v{kubernetes} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    )
}

/// Builds the Go module in tests/cluster/`folder`, unless the cache has it from the same sources.
fn module(what: &str, folder: &str, name: &str, flags: &str) -> Result<PathBuf> {
    go::Program {
        what,
        module: &format!("tests/cluster/{folder}"),
        package: ".",
        name,
        linker_flags: flags,
        is_tests: false,
        is_static: false,
    }
    .build()
}

/// The program that holds a pod's namespaces.
pub fn pause() -> Result<PathBuf> {
    module("the pause program", "pause", "pause", "")
}
