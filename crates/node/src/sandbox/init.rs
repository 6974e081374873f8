//! The small init above a container's command: reaps zombies, passes signals on, and reports how the command ended.
//! In a PID namespace of its own its end is everybody's end; where it shares one, it ends its descendants itself.

use std::convert::Infallible;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::container::{Program, Stdio};
use super::failure::{Failure, While};
use super::passing;
use super::process::{self, Ended};
use super::report::{self, Report};

/// Forks the command and watches over it until it ends.
pub fn run(
    program: Program,
    stdio: Stdio,
    slave: Option<OwnedFd>,
    report: OwnedFd,
) -> Result<Infallible, Failure> {
    // SAFETY: plain system calls.
    let is_first = unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::getpid() == 1
    };
    let signals = process::watch_signals(&FORWARDED).during(|| "watching signals")?;
    let (executed, failed) = passing::pair().during(|| "making sockets")?;
    let command = process::clone(0, || {
        // A session of its own, so that job control works; with a terminal it is made where the terminal is taken.
        if slave.is_none() {
            // SAFETY: plain system call.
            unsafe { libc::setsid() };
        }
        let outcome = program.execute(stdio, slave);
        let _ = report::send(failed.as_fd(), &outcome, &[]);
        process::exit(127)
    })
    .during(|| "forking the command")?;
    process::set_name(c"init");
    // The closures above moved what they captured into the child only; here everything but two descriptors goes.
    process::close_all_but(&[
        report.as_raw_fd(),
        signals.as_raw_fd(),
        executed.as_raw_fd(),
    ])
    .during(|| "closing descriptors")?;
    process::detach_streams();
    match report::receive(executed.as_fd()) {
        Ok(Some(message)) => {
            let _ = report::send(report.as_fd(), &message.report, &[]);
            return finish(1);
        }
        _ => {
            let _ = report::send(report.as_fd(), &Report::Started, &[]);
        }
    }
    drop(executed);
    let ended = watch(command, &signals);
    if !is_first {
        end_descendants();
    }
    let _ = report::send(report.as_fd(), &Report::Ended(ended), &[]);
    finish(ended.code)
}

fn finish(code: i32) -> Result<Infallible, Failure> {
    process::exit(code)
}

const FORWARDED: [i32; 12] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGABRT,
];

fn watch(command: i32, signals: &OwnedFd) -> Ended {
    loop {
        process::wait_readable(&[signals.as_raw_fd()]);
        while let Some(signal) = process::next_signal(signals.as_fd()) {
            if signal != libc::SIGCHLD {
                // SAFETY: plain system call; the command is not reaped yet, so the pid is still its own.
                unsafe { libc::kill(command, signal) };
            }
        }
        while let Some((pid, ended)) = process::reap() {
            if pid == command {
                return ended;
            }
        }
    }
}

/// Kills what the command left behind; orphans have become children of this process.
fn end_descendants() {
    // SAFETY: plain system call.
    let own = unsafe { libc::getpid() };
    loop {
        let children =
            fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
        let pids: Vec<i32> = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // SAFETY: plain system calls; only this process reaps its children, so the pid is still one of them.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    }
}
