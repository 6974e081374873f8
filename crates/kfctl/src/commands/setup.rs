//! `kfctl setup`: once, with sudo, what some machines refuse to ordinary users: user namespaces (Ubuntu 24.04
//! and newer, by AppArmor) and control groups of one's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::Setup;

/// What setup writes, and what undoing it removes.
const APPARMOR_RULE: &str = "/etc/apparmor.d/ferroflow-kfctl";
const CLONE_SETTING: &str = "/etc/sysctl.d/90-ferroflow.conf";
const DELEGATION: &str = "/etc/systemd/system/user@.service.d/ferroflow-delegate.conf";
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
    /// Remove a file that an earlier setup wrote.
    Remove { path: PathBuf },
    /// Run a program.
    Call {
        program: &'static str,
        arguments: Vec<String>,
    },
}

/// Does what is needed, or says it.
pub fn run(args: &Setup) -> Result<()> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let changes = if args.undo {
        undoing(&read)
    } else {
        changes(&exe, &read)
    };
    if changes.is_empty() {
        if args.undo {
            println!("nothing to undo: no earlier setup changed this machine");
        } else {
            println!(
                "nothing to do: this machine allows all that pods need, or setup was here before"
            );
        }
        return Ok(());
    }
    for change in &changes {
        match change {
            Change::Write { path, why, .. } => println!("write {}: {why}", path.display()),
            Change::Remove { path } => println!("remove {}", path.display()),
            Change::Call { program, arguments } => {
                println!("run   {program} {}", arguments.join(" "))
            }
        }
    }
    if args.dry_run {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        let undo = if args.undo { " --undo" } else { "" };
        bail!(
            "this changes the machine; run it once with sudo: sudo {} setup{undo}",
            exe.display()
        );
    }
    for change in changes {
        apply(change)?;
    }
    if args.undo {
        println!("done");
    } else {
        println!("done; `kfctl up` tries it, and `sudo kfctl setup --undo` takes it back");
    }
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
        Change::Remove { path } => {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
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

/// What this machine lacks, by what its files say. What an earlier setup did is not done again.
fn changes(exe: &Path, read: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut write = |path: &str, text: String, why: &'static str, program, arguments: &[&str]| {
        if read(path).as_deref() == Some(text.as_str()) {
            return;
        }
        changes.push(Change::Write {
            path: path.into(),
            text,
            why,
        });
        changes.push(call(program, arguments));
    };
    if read(APPARMOR_SWITCH).is_some_and(|value| value.trim() == "1") {
        let text = format!(
            "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile ferroflow-kfctl {} flags=(unconfined) {{\n  userns,\n  include if exists <local/ferroflow-kfctl>\n}}\n",
            exe.display()
        );
        write(
            APPARMOR_RULE,
            text,
            "AppArmor lets this program make user namespaces",
            "apparmor_parser",
            &["-r", APPARMOR_RULE],
        );
    }
    if read(CLONE_SWITCH).is_some_and(|value| value.trim() == "0") {
        write(
            CLONE_SETTING,
            "kernel.unprivileged_userns_clone = 1\n".to_owned(),
            "the kernel lets ordinary users make user namespaces",
            "sysctl",
            &["-p", CLONE_SETTING],
        );
    }
    let delegates =
        |controllers: &str| controllers.contains("memory") && controllers.contains("cpu");
    let user_slice = "/sys/fs/cgroup/user.slice/cgroup.subtree_control";
    if read(user_slice).is_some_and(|controllers| !delegates(&controllers)) {
        write(
            DELEGATION,
            "[Service]\nDelegate=cpu cpuset io memory pids\n".to_owned(),
            "pods of ordinary users get real memory and processor limits (after the next sign-in)",
            "systemctl",
            &["daemon-reload"],
        );
    }
    changes
}

/// What takes an earlier setup back.
fn undoing(read: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
    let remove = |path: &str| Change::Remove { path: path.into() };
    let mut changes = Vec::new();
    if read(APPARMOR_RULE).is_some() {
        changes.push(call("apparmor_parser", &["-R", APPARMOR_RULE]));
        changes.push(remove(APPARMOR_RULE));
    }
    if read(CLONE_SETTING).is_some() {
        changes.push(remove(CLONE_SETTING));
        changes.push(call(
            "sysctl",
            &["-w", "kernel.unprivileged_userns_clone=0"],
        ));
    }
    if read(DELEGATION).is_some() {
        changes.push(remove(DELEGATION));
        changes.push(call("systemctl", &["daemon-reload"]));
    }
    changes
}

fn call(program: &'static str, arguments: &[&str]) -> Change {
    Change::Call {
        program,
        arguments: arguments.iter().map(ToString::to_string).collect(),
    }
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

    #[test]
    fn a_second_setup_finds_nothing_to_do_and_undoing_removes_what_the_first_wrote() {
        let switch = |path: &str| (path == APPARMOR_SWITCH).then(|| "1\n".to_owned());
        let first = changes(Path::new("/opt/kfctl"), &switch);
        let Change::Write { path, text, .. } = &first[0] else {
            panic!("a file comes first: {first:?}")
        };
        let after = |wanted: &str| {
            switch(wanted).or_else(|| (Path::new(wanted) == path).then(|| text.clone()))
        };
        assert_eq!(changes(Path::new("/opt/kfctl"), &after), []);
        assert_eq!(
            undoing(&after),
            [
                call("apparmor_parser", &["-R", APPARMOR_RULE]),
                Change::Remove { path: path.clone() }
            ]
        );
        assert_eq!(undoing(&switch), []);
    }
}
