//! Runs the command as a process group of its own: output goes straight through, signals that reach the launcher reach
//! the whole group, and orphans that fall to it (it may be process 1) are reaped.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, mem, ptr, thread};

use crate::{Report, Step, outputs};

/// Signals that are passed on to the command.
const FORWARDED: [libc::c_int; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Runs one step and leaves its report; the exit code is the command's, or 1 when an output is missing.
pub fn run(step: &Step, command: &[String]) -> Report {
    let mut report = Report {
        started_at: now(),
        ..Report::default()
    };
    match prepare(step).and_then(|()| execute(command)) {
        Ok(0) => {
            outputs::collect(step, &mut report);
            if report.error.is_some() {
                report.exit_code = 1;
            }
        }
        Ok(code) => report.exit_code = code,
        Err(Failure { code, problem }) => {
            report.exit_code = code;
            report.error = Some(problem);
        }
    }
    report.finished_at = now();
    report
}

/// The report of a step whose command was never started.
pub fn not_run(problem: String) -> Report {
    Report {
        exit_code: 1,
        error: Some(problem),
        started_at: now(),
        finished_at: now(),
        ..Report::default()
    }
}

/// Writes the report beside its place, then renames it into it.
pub fn publish(report: &Report, place: &Path) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = place.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec(report)?)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, place)
}

struct Failure {
    code: i32,
    problem: String,
}

fn prepare(step: &Step) -> Result<(), Failure> {
    let parents = step
        .parameters
        .values()
        .chain([&step.executor_output])
        .chain(step.artifacts.values());
    let parents = parents.filter_map(|path| Path::new(path).parent().map(Path::to_path_buf));
    for folder in parents.chain(step.directories.iter().map(Into::into)) {
        fs::create_dir_all(&folder).map_err(|problem| Failure {
            code: 1,
            problem: format!(
                "could not create the folder {}: {problem}",
                folder.display()
            ),
        })?;
    }
    Ok(())
}

fn execute(command: &[String]) -> Result<i32, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure {
            code: 127,
            problem: "the step has no command to run".to_owned(),
        });
    };
    // Blocked before the command starts, so that none is lost between its start and the forwarding thread's.
    let signals = block_signals();
    let mut child = Command::new(program);
    child.args(arguments).process_group(0);
    // SAFETY: between fork and exec only sigprocmask, which is async-signal-safe, is called.
    unsafe { child.pre_exec(unblock_signals) };
    let child = child.spawn().map_err(|problem| {
        let code = if problem.kind() == io::ErrorKind::PermissionDenied {
            126
        } else {
            127
        };
        let problem = match problem.kind() {
            io::ErrorKind::NotFound => format!("the image has no program {program:?}"),
            io::ErrorKind::PermissionDenied => {
                format!("the program {program:?} may not be executed in this image")
            }
            _ => format!("could not start {program:?}: {problem}"),
        };
        Failure { code, problem }
    })?;
    let group = child.id().cast_signed();
    thread::spawn(move || forward(&signals, group));
    Ok(wait_for(group))
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before any other use.
    unsafe {
        let mut signals: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in FORWARDED {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
        signals
    }
}

/// The command inherits our mask, so it would never see the signals passed on to it.
fn unblock_signals() -> io::Result<()> {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
    Ok(())
}

fn forward(signals: &libc::sigset_t, group: libc::pid_t) {
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are to live values; kill with a negative id addresses the group we made.
        unsafe {
            if libc::sigwait(signals, &raw mut signal) == 0 {
                libc::kill(-group, signal);
            }
        }
    }
}

/// Reaps everything until the command itself ends.
fn wait_for(child: libc::pid_t) -> i32 {
    loop {
        let mut status = 0;
        // SAFETY: status is a live integer.
        let reaped = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if reaped == child {
            return if libc::WIFSIGNALED(status) {
                128 + libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            };
        }
        if reaped < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
            return 255;
        }
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
