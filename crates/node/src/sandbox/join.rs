//! A second process in a running container (`exec`): enters the container's namespaces, takes on its limits and executes.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::container::{Program, Stdio, shed};
use super::failure::{Failure, While};
use super::pause::Pause;
use super::report::{self, Report};
use super::user::Identity;
use super::{devices, process};
use crate::shim::{ContainerSpec, ExecSpec};

/// Everything a join needs.
#[derive(Debug)]
pub struct Join<'a> {
    /// The pod's namespaces; none without isolation.
    pub pause: Option<&'a Pause>,
    /// The container's user, mount and PID namespaces; empty without isolation.
    pub namespaces: &'a [OwnedFd],
    /// The container.
    pub container: &'a ContainerSpec,
    /// Who its command is.
    pub identity: &'a Identity,
    /// The environment of its command.
    pub env: &'a [(String, String)],
    /// What to run.
    pub exec: &'a ExecSpec,
    /// The process's streams.
    pub stdio: Stdio,
    /// Files to write the process's pid to: its cgroups.
    pub cgroups: Vec<OwnedFd>,
    /// Where it reports to.
    pub report: OwnedFd,
}

/// Starts the process; what comes of it arrives as reports.
pub fn start(join: Join<'_>) -> Result<i32, Failure> {
    process::clone(0, move || {
        // Nobody inside may look into this process while it still is the host's program.
        process::set_dumpable(false);
        let mut keep = vec![join.report.as_raw_fd()];
        keep.extend(join.stdio.raw_fds());
        keep.extend(
            join.cgroups
                .iter()
                .chain(join.namespaces)
                .map(AsRawFd::as_raw_fd),
        );
        keep.extend(join.pause.map(Pause::raw_fds).unwrap_or_default());
        if process::close_all_but(&keep).is_err() {
            process::exit(1);
        }
        let report = join.report.try_clone();
        if let (Err(failure), Ok(report)) = (enter(join), report) {
            let _ = report::send(report.as_fd(), &Report::SetupFailed(failure.0), &[]);
        }
        process::exit(1)
    })
    .during(|| "forking")
}

fn enter(join: Join<'_>) -> Result<Infallible, Failure> {
    for cgroup in &join.cgroups {
        // SAFETY: a static string; 0 is the writer itself.
        super::failure::check(
            unsafe { libc::write(cgroup.as_raw_fd(), c"0".as_ptr().cast(), 1) } as i64,
        )
        .during(|| "joining the container's cgroup")?;
    }
    let (Some(pause), [user, mounts, pids]) = (join.pause, join.namespaces) else {
        return execute(join, None, false);
    };
    // Network, IPC and host name belong to the pod's user namespace, the rest to the container's below it.
    pause.enter_only(
        libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
    )?;
    let step = || "entering the container's namespaces";
    process::enter(pids.as_fd(), libc::CLONE_NEWPID).during(step)?;
    process::enter(user.as_fd(), libc::CLONE_NEWUSER).during(step)?;
    process::enter(mounts.as_fd(), libc::CLONE_NEWNS).during(step)?;
    let is_range = pause.ids.is_range();
    process::clone(libc::CLONE_PARENT, move || {
        let report = join.report.try_clone();
        if let (Err(failure), Ok(report)) = (become_member(join, is_range), report) {
            let _ = report::send(report.as_fd(), &Report::SetupFailed(failure.0), &[]);
        }
        process::exit(1)
    })
    .during(|| "forking into the container")?;
    process::exit(0)
}

fn become_member(join: Join<'_>, is_range: bool) -> Result<Infallible, Failure> {
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
    }
    let terminal = if join.exec.tty {
        Some(devices::open_terminal().during(|| "opening a terminal")?)
    } else {
        None
    };
    shed(join.container, join.identity, is_range)?;
    execute(join, terminal, true)
}

fn execute(
    join: Join<'_>,
    terminal: Option<(OwnedFd, OwnedFd)>,
    is_inside: bool,
) -> Result<Infallible, Failure> {
    if join.exec.tty && !is_inside {
        return Err(Failure(
            "a terminal needs a sandbox, which this pod does not have".to_owned(),
        ));
    }
    let mut env = join.env.to_vec();
    for (name, value) in &join.exec.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    if join.exec.tty && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let cwd = join
        .exec
        .cwd
        .as_deref()
        .or(join.container.cwd.as_deref())
        .unwrap_or(Path::new("/"));
    let program = Program::new(&join.exec.command, &env, cwd)?;
    let carried: Vec<_> = terminal.iter().map(|(master, _)| master.as_fd()).collect();
    report::send(join.report.as_fd(), &Report::Here, &carried)
        .during(|| "reporting to the shim")?;
    let slave = terminal.map(|(_, slave)| slave);
    let mut keep = vec![join.report.as_raw_fd()];
    keep.extend(join.stdio.raw_fds());
    keep.extend(slave.iter().map(AsRawFd::as_raw_fd));
    process::close_all_but(&keep).during(|| "closing descriptors")?;
    let outcome = program.execute(join.stdio, slave);
    let _ = report::send(join.report.as_fd(), &outcome, &[]);
    process::exit(1)
}
