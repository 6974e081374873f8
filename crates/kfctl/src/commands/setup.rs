//! `kfctl setup`: once, with sudo, what some machines refuse to ordinary users: user namespaces (Ubuntu 24.04
//! and newer, by AppArmor) and control groups of one's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::Setup;

const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const CLONE_SWITCH: &str = "/proc/sys/kernel/unprivileged_userns_clone";

/// One thing to change.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Write a file.
    Write {
        path: PathBuf,
        text: String,
        why: &'static str,
    },
    /// Run a program.
    Call {
        program: &'static str,
        arguments: Vec<String>,
    },
}

/// Does what is needed, or says it.
pub fn run(args: &Setup) -> Result<()> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let changes = changes(&exe, &|path| std::fs::read_to_string(path).ok());
    if changes.is_empty() {
        println!("nothing to do: this machine allows user namespaces to ordinary users");
        return Ok(());
    }
    for change in &changes {
        match change {
            Change::Write { path, why, .. } => println!("write {}: {why}", path.display()),
            Change::Call { program, arguments } => {
                println!("run   {program} {}", arguments.join(" "))
            }
        }
    }
    if args.dry_run {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "this changes the machine; run it once with sudo: sudo {} setup",
            exe.display()
        );
    }
    for change in changes {
        apply(change)?;
    }
    println!("done; `kfctl up` tries it");
    Ok(())
}

fn apply(change: Change) -> Result<()> {
    match change {
        Change::Write { path, text, .. } => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("create {}", folder.display()))?;
            }
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        }
        Change::Call { program, arguments } => {
            let status = std::process::Command::new(program)
                .args(&arguments)
                .status()
                .with_context(|| format!("run {program}"))?;
            if !status.success() {
                bail!("{program} {} ended with {status}", arguments.join(" "));
            }
            Ok(())
        }
    }
}

/// What this machine lacks, by what its files say.
fn changes(exe: &Path, read: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let mut changes = Vec::new();
    if read(APPARMOR_SWITCH).is_some_and(|value| value.trim() == "1") {
        let path = PathBuf::from("/etc/apparmor.d/ferroflow-kfctl");
        let text = format!(
            "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile ferroflow-kfctl {} flags=(unconfined) {{\n  userns,\n  include if exists <local/ferroflow-kfctl>\n}}\n",
            exe.display()
        );
        changes.push(Change::Write {
            path: path.clone(),
            text,
            why: "AppArmor lets this program make user namespaces",
        });
        changes.push(Change::Call {
            program: "apparmor_parser",
            arguments: vec!["-r".into(), path.display().to_string()],
        });
    }
    if read(CLONE_SWITCH).is_some_and(|value| value.trim() == "0") {
        let path = PathBuf::from("/etc/sysctl.d/90-ferroflow.conf");
        let text = "kernel.unprivileged_userns_clone = 1\n".to_owned();
        changes.push(Change::Write {
            path: path.clone(),
            text,
            why: "the kernel lets ordinary users make user namespaces",
        });
        changes.push(Change::Call {
            program: "sysctl",
            arguments: vec!["-p".into(), path.display().to_string()],
        });
    }
    let delegates =
        |controllers: &str| controllers.contains("memory") && controllers.contains("cpu");
    let user_slice = "/sys/fs/cgroup/user.slice/cgroup.subtree_control";
    if read(user_slice).is_some_and(|controllers| !delegates(&controllers)) {
        changes.push(Change::Write {
            path: PathBuf::from("/etc/systemd/system/user@.service.d/ferroflow-delegate.conf"),
            text: "[Service]\nDelegate=cpu cpuset io memory pids\n".to_owned(),
            why: "pods of ordinary users get real memory and processor limits (after the next sign-in)",
        });
        changes.push(Change::Call {
            program: "systemctl",
            arguments: vec!["daemon-reload".into()],
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_allows_everything_is_left_alone() {
        assert_eq!(changes(Path::new("/usr/local/bin/kfctl"), &|_| None), []);
    }

    #[test]
    fn the_apparmor_rule_names_this_program_and_is_loaded() {
        let read = |path: &str| (path == APPARMOR_SWITCH).then(|| "1\n".to_owned());
        let changes = changes(Path::new("/opt/kfctl"), &read);
        let [Change::Write { text, .. }, Change::Call { program, .. }] = &changes[..] else {
            panic!("a file and a call: {changes:?}")
        };
        assert!(text.contains("/opt/kfctl flags=(unconfined)") && text.contains("userns,"));
        assert_eq!(*program, "apparmor_parser");
    }
}
