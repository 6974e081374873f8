//! What this machine lets a pod have, found out by making one. Done in a process of its own, like every pod.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use super::container::{self, Start, Stdio as Streams};
use super::failure::{Failure, While};
use super::report::{self, Report};
use super::rootfs::Plan;
use super::{confine, passing, pause, process};
use crate::cgroup::Cgroup;
use crate::holder::Facts;
use crate::reexec;
use crate::shim::{ContainerSpec, Limits, PodSpec};

/// What pods can have here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// Why no pod can be sandboxed; `None` when it works.
    pub refusal: Option<Refusal>,
    /// Why images given as folders cannot have a writable layer; `None` when they can.
    pub overlay_refusal: Option<String>,
    /// The kernel's Landlock version, 0 without.
    pub landlock: u32,
    /// How memory limits are kept: `cgroup v1`, `cgroup v2` or `sampling`.
    pub memory_limits: String,
}

/// Why pods cannot be sandboxed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The step that failed, with the system's answer.
    pub cause: String,
    /// What helps.
    pub remedy: String,
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = &self.refusal {
            return write!(
                f,
                "pods cannot be sandboxed here: {}. Remedy: {}",
                refusal.cause, refusal.remedy
            );
        }
        write!(
            f,
            "pods are sandboxed; memory limits by {}",
            self.memory_limits
        )?;
        match self.landlock {
            0 => write!(f, "; no Landlock")?,
            version => write!(f, "; Landlock version {version}")?,
        }
        match &self.overlay_refusal {
            Some(cause) => write!(f, "; images cannot have a writable layer: {cause}"),
            None => Ok(()),
        }
    }
}

/// Tries it, by executing `exe` again with `folder` (on the disk where pods will live) as its place.
pub async fn probe(exe: &Path, folder: &Path) -> io::Result<Ability> {
    std::fs::create_dir_all(folder)?;
    let mut command = tokio::process::Command::new(exe);
    command
        .arg(reexec::PROBE)
        .arg(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command.output().await?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} answered no probe: {error}", exe.display()),
        )
    })
}

/// The probing process.
pub fn main(folder: &Path) -> ExitCode {
    let ability = look(folder);
    let text = serde_json::to_string(&ability).expect("plain data");
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn look(folder: &Path) -> Ability {
    // SAFETY: plain system calls.
    unsafe {
        libc::umask(0o022);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
    let place = folder.join(format!("probe-{}", std::process::id()));
    let attempt = |root: serde_json::Value, name: &str| try_container(&place.join(name), root);
    let host = attempt(serde_json::json!({"hostReadOnly": {}}), "host");
    let image = place.join("image");
    let image_made = std::fs::create_dir_all(&image).during(|| "making a folder");
    let overlay =
        image_made.and_then(|()| attempt(serde_json::json!({"folder": {"path": image}}), "folder"));
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        ..Limits::default()
    };
    let memory_limits =
        match Cgroup::create(&format!("ferroflow/probe-{}", std::process::id()), &limits) {
            Ok(Some(cgroup)) => {
                cgroup.remove();
                match cgroup {
                    Cgroup::V1(_) => "cgroup v1",
                    Cgroup::V2(_) => "cgroup v2",
                }
            }
            Ok(None) | Err(_) => "sampling",
        };
    // Only what a container left in its layer can be in the way.
    let _ = crate::shim::remove(&place);
    Ability {
        refusal: host.err().map(|failure| Refusal {
            remedy: remedy(&failure.0, &Facts::gather()),
            cause: failure.0,
        }),
        overlay_refusal: overlay.err().map(|failure| failure.0),
        landlock: confine::version().clamp(0, i64::from(u32::MAX)) as u32,
        memory_limits: memory_limits.to_owned(),
    }
}

/// Makes a pod with one container up to the execution of a command that need not exist.
fn try_container(dir: &Path, root: serde_json::Value) -> Result<(), Failure> {
    let step = || "making a pod to try";
    let dir = dir.to_owned();
    let scratch = dir.join("scratch");
    crate::shim::private_dir(&scratch).during(step)?;
    let pod: PodSpec = serde_json::from_value(serde_json::json!({
        "uid": "probe", "namespace": "probe", "name": "probe", "hostname": "probe", "dir": dir,
    }))
    .during(step)?;
    let container: ContainerSpec = serde_json::from_value(serde_json::json!({
        "name": "probe", "root": root, "command": ["/bin/true"], "log": {"path": dir.join("log")},
    }))
    .during(step)?;
    let pause = pause::start(&pod)?;
    let plan = Plan {
        pod: &pod,
        container: &container,
        scratch: &scratch,
    };
    plan.prepare()?;
    let (ours, theirs) = passing::pair().during(step)?;
    let start = Start {
        plan,
        pause: Some(&pause),
        stdio: Streams::default(),
        cgroups: Vec::new(),
        report: theirs,
    };
    container::start(start)?;
    let outcome = loop {
        match report::receive(ours.as_fd()).during(step)? {
            Some(message) => match message.report {
                Report::SetupFailed(text) => break Err(Failure(text)),
                Report::Started | Report::CommandFailed(..) | Report::Ended(_) => break Ok(()),
                Report::Here | Report::Ready(_) => {}
            },
            None => {
                break Err(Failure(
                    "the container's process ended without a word".to_owned(),
                ));
            }
        }
    };
    // The pod's namespaces end with this descriptor.
    drop(pause);
    while process::reap().is_some() {}
    outcome
}

fn remedy(cause: &str, facts: &Facts) -> String {
    let is_refused = cause.contains("Permission denied") || cause.contains("not permitted");
    let remedy = if cause.contains("No space left") || facts.most_user_namespaces == Some(0) {
        "raise the limit: `sudo sysctl user.max_user_namespaces=15000`"
    } else if is_refused && facts.apparmor_restricts && !facts.is_root {
        "run `sudo kfctl setup` once (it adds an AppArmor profile for kfctl), or \
         `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if is_refused && facts.clone_switched_off && !facts.is_root {
        "run `sudo kfctl setup` once, or `sudo sysctl kernel.unprivileged_userns_clone=1`"
    } else if facts.in_container || facts.is_filtered {
        "run kfctl outside of the container, or start that with `--security-opt seccomp=unconfined \
         --security-opt apparmor=unconfined --security-opt systempaths=unconfined`"
    } else {
        "a Linux kernel of 5.12 or later with user namespaces is needed; to run pods as plain processes without any \
         isolation, start kfctl with `--allow-host-processes`"
    };
    remedy.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ubuntus_rule_has_its_own_remedy() {
        let facts = Facts {
            apparmor_restricts: true,
            ..Facts::default()
        };
        assert!(
            remedy("making the pod's namespaces: Permission denied", &facts)
                .contains("kfctl setup")
        );
    }

    #[test]
    fn a_masked_proc_inside_a_container_is_named() {
        let facts = Facts {
            in_container: true,
            is_root: true,
            ..Facts::default()
        };
        assert!(
            remedy("mounting a fresh /proc: not permitted", &facts)
                .contains("systempaths=unconfined")
        );
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        assert!(
            remedy("cloning /usr: Function not implemented", &Facts::default()).contains("5.12")
        );
    }
}
