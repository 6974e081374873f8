//! The cluster's programs: ours from the Go modules in tests/cluster, kept in the cache under a name that
//! follows from their sources; the rest from Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Part;
use crate::{paths, setup, step};

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
        built.push((module("the pause program", "pause", "pause", "")?, "pause"));
        built.push((module("CoreDNS", "dns", "coredns", "")?, "coredns"));
    }
    Ok(Built(built))
}

/// Linker flags that make every part say its version.
fn stamp(kubernetes: &str) -> String {
    let mut numbers = kubernetes.split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let version = "k8s.io/component-base/version";
    format!(
        "-X {version}.gitVersion=v{kubernetes} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    )
}

/// Builds the Go module in tests/cluster/`folder`, unless the cache has it from the same sources.
fn module(what: &str, folder: &str, name: &str, flags: &str) -> Result<PathBuf> {
    let sources = paths::root().join("tests/cluster").join(folder);
    let mut digest = Sha256::new();
    for file in ["main.go", "go.mod"] {
        digest.update(
            fs::read(sources.join(file))
                .with_context(|| format!("read tests/cluster/{folder}/{file}"))?,
        );
    }
    digest.update(flags);
    let mut key = String::new();
    for byte in &digest.finalize()[..6] {
        key += &format!("{byte:02x}");
    }
    let programs = paths::cache().join("cluster/programs");
    let program = programs.join(format!("{name}-{key}"));
    if program.is_file() {
        return Ok(program);
    }
    if !step::has("go") {
        bail!(
            "{what} is built from its Go module and this machine has no Go; install Go 1.26 or newer"
        );
    }
    fs::create_dir_all(&programs).with_context(|| format!("create {}", programs.display()))?;
    let unfinished = programs.join(format!("{name}-{key}.{}", std::process::id()));
    step::run(
        &format!("build {what} from its Go module"),
        step::command("go")
            .args(["build", "-trimpath", "-ldflags"])
            .arg(format!("-s -w {flags}"))
            .arg("-o")
            .arg(&unfinished)
            .arg(".")
            .current_dir(&sources),
    )?;
    fs::rename(&unfinished, &program).with_context(|| format!("keep {}", program.display()))?;
    Ok(program)
}
