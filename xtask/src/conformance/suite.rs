//! The suite's programs and how it is run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Args;
use crate::go::Program;
use crate::{cluster, paths, setup, step};

/// A version of Kubernetes whose suite can be built.
pub struct Version {
    /// As in `kubectl version`.
    pub number: &'static str,
    module: &'static str,
}

/// The versions, the usual one first.
pub const VERSIONS: [Version; 1] = [Version {
    number: "1.33.13",
    module: "tests/conformance/kubernetes-1.33",
}];

/// Refuses a version that has no module here.
pub fn known_version(number: &str) -> Result<String, String> {
    let known = VERSIONS.map(|version| version.number);
    if known.contains(&number) {
        return Ok(number.to_owned());
    }
    Err(format!("known versions: {}", known.join(", ")))
}

/// What was built.
pub struct Suite {
    tests: PathBuf,
    ginkgo: PathBuf,
    /// The program of the image that most tests use.
    pub agnhost: PathBuf,
    /// Where its sources lie.
    pub agnhost_sources: PathBuf,
    /// What says which user it runs as.
    pub nonewprivs: PathBuf,
    /// What waits and reaps.
    pub pause: PathBuf,
}

/// Builds what is missing: five minutes the first time.
pub fn build(kubernetes: &str) -> Result<Suite> {
    let version = VERSIONS
        .iter()
        .find(|version| version.number == kubernetes)
        .context("no such version")?;
    let stamp = cluster::stamp(kubernetes);
    let of_kubernetes = |what: &str, package, name: &str, is_tests| {
        Program {
            what,
            module: version.module,
            package,
            name: &format!("{name}-{kubernetes}"),
            linker_flags: &stamp,
            is_tests,
            is_static: !is_tests,
        }
        .build()
    };
    Ok(Suite {
        agnhost_sources: sources(version)?.join("test/images/agnhost"),
        tests: of_kubernetes(
            &format!("the conformance suite of Kubernetes {kubernetes}"),
            "k8s.io/kubernetes/test/e2e",
            "e2e.test",
            true,
        )?,
        agnhost: of_kubernetes(
            "agnhost",
            "k8s.io/kubernetes/test/images/agnhost",
            "agnhost",
            false,
        )?,
        ginkgo: of_kubernetes(
            "ginkgo",
            "github.com/onsi/ginkgo/v2/ginkgo",
            "ginkgo",
            false,
        )?,
        nonewprivs: Program {
            what: "nonewprivs",
            module: "tests/conformance/nonewprivs",
            package: ".",
            name: "nonewprivs",
            linker_flags: "",
            is_tests: false,
            is_static: true,
        }
        .build()?,
        pause: cluster::pause()?,
    })
}

/// Where Go keeps Kubernetes' own sources.
fn sources(version: &Version) -> Result<PathBuf> {
    let output = step::command("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
        .current_dir(paths::root().join(version.module))
        .output()
        .context("start go")?;
    ensure!(
        output.status.success(),
        "ask Go for Kubernetes' sources: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

impl Suite {
    /// Runs the tests that `args` ask for on what `kubeconfig` leads to. The report lies in `reports` whatever failed.
    pub fn run(&self, args: &Args, kubeconfig: &Path, reports: &Path) -> Result<()> {
        let kubectl = setup::kubectl()?.pop().context("find kubectl")?;
        // Ginkgo takes only what is called so for a suite.
        let tests = reports.join("e2e.test");
        std::os::unix::fs::symlink(&self.tests, &tests).context("link the suite")?;
        let mut ginkgo = step::command(&self.ginkgo);
        ginkgo
            .args(["--no-color", "--label-filter=Conformance"])
            .arg(format!("--timeout={}", args.timeout))
            .arg(format!("--procs={}", args.procs));
        if !args.focus.is_empty() {
            ginkgo.arg(format!("--focus={}", args.focus));
        }
        if !args.skip.is_empty() {
            ginkgo.arg(format!("--skip={}", args.skip));
        }
        ginkgo
            .arg(&tests)
            .args(["--", "--provider=local", "--delete-namespace=true"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--kubectl-path={}", kubectl.display()))
            .arg(format!("--report-dir={}", reports.display()))
            .current_dir(reports)
            .env("KUBECONFIG", kubeconfig);
        let output = std::fs::File::create(reports.join("output.txt"))
            .context("create the file for the suite's output")?;
        ginkgo.stderr(output.try_clone()?).stdout(output);
        step::run(
            &format!(
                "run the suite (its output: {})",
                reports.join("output.txt").display()
            ),
            &mut ginkgo,
        )
    }
}
