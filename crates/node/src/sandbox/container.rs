//! Starting one container in a pod's namespaces. Three short-lived processes do it, all children of the shim:
//! the first enters the pod's namespaces and stays outside its PID namespace to write maps and move the container into its
//! cgroup; the second is inside and makes the container's own PID namespace; the third becomes the container.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use super::failure::{Failure, While};
use super::ids;
use super::pause::Pause;
use super::report::{self, Report};
use super::rootfs::{self, Plan};
use super::user::{self, Identity};
use super::{confine, devices, filter, init, passing, privileges, process};
use crate::shim::{ContainerSpec, Isolation};

/// The ends of a process's streams that it gets; with a terminal there are none.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input; `/dev/null` when absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output; `/dev/null` when absent.
    pub stdout: Option<OwnedFd>,
    /// Standard error; `/dev/null` when absent.
    pub stderr: Option<OwnedFd>,
}

impl Stdio {
    /// Raw numbers, for keeping them open.
    pub fn raw_fds(&self) -> Vec<RawFd> {
        [&self.stdin, &self.stdout, &self.stderr]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect()
    }
}

/// Everything a start needs.
#[derive(Debug)]
pub struct Start<'a> {
    /// What to build.
    pub plan: Plan<'a>,
    /// The pod's namespaces; none without isolation.
    pub pause: Option<&'a Pause>,
    /// The container's streams.
    pub stdio: Stdio,
    /// Files to write the container's pid to: its cgroups.
    pub cgroups: Vec<OwnedFd>,
    /// Where the processes report to.
    pub report: OwnedFd,
}

/// Starts a container; what comes of it arrives as reports. Returns the pid of the first of the processes.
pub fn start(start: Start<'_>) -> Result<i32, Failure> {
    process::clone(0, move || {
        let mut keep = vec![start.report.as_raw_fd()];
        keep.extend(start.stdio.raw_fds());
        keep.extend(start.cgroups.iter().map(AsRawFd::as_raw_fd));
        keep.extend(start.pause.map(Pause::raw_fds).unwrap_or_default());
        if process::close_all_but(&keep).is_err() {
            process::exit(1);
        }
        let report = start.report.try_clone();
        let outcome = match start.plan.pod.isolation {
            Isolation::Sandbox => enter(start),
            Isolation::HostProcess => without_isolation(start),
        };
        if let (Err(failure), Ok(report)) = (outcome, report) {
            // Nobody to tell when the shim is gone.
            let _ = report::send(report.as_fd(), &Report::SetupFailed(failure.0), &[]);
        }
        process::exit(1)
    })
    .during(|| "forking")
}

/// The first process: in the pod's namespaces, but not in its PID namespace.
fn enter(start: Start<'_>) -> Result<Infallible, Failure> {
    let pause = start
        .pause
        .ok_or_else(|| Failure("the pod has no namespaces".to_owned()))?;
    let early = rootfs::collect_early(&start.plan, pause)?;
    pause.enter()?;
    let (writer, container) = passing::pair().during(|| "making sockets")?;
    let shares_pids = start.plan.pod.share_process_namespace;
    let third = |start: Start<'_>, early| {
        // This process's own copy: while it is open, the end of the process outside would go unnoticed.
        // SAFETY: the original is never dropped here; this process ends by `exit`.
        unsafe { libc::close(writer.as_raw_fd()) };
        let report = start.report.try_clone();
        if let (Err(failure), Ok(report)) = (
            become_container(start, pause.ids, early, &container),
            report,
        ) {
            let _ = report::send(report.as_fd(), &Report::SetupFailed(failure.0), &[]);
        }
        process::exit(1)
    };
    let cgroups: Vec<OwnedFd> = start
        .cgroups
        .iter()
        .map(|fd| fd.try_clone())
        .collect::<Result<_, _>>()
        .during(|| "keeping the cgroups open")?;
    if shares_pids {
        process::clone(libc::CLONE_PARENT, || third(start, early))
            .during(|| "forking the container's process")?;
    } else {
        // Only a process that is inside of the pod's PID namespace can make another below it.
        process::clone(libc::CLONE_PARENT, || {
            let report = start.report.try_clone();
            let made = process::clone(libc::CLONE_PARENT | libc::CLONE_NEWPID, || {
                third(start, early)
            });
            if let (Err(error), Ok(report)) = (made, report) {
                let failed =
                    Report::SetupFailed(format!("making the container's PID namespace: {error}"));
                let _ = report::send(report.as_fd(), &failed, &[]);
            }
            process::exit(0)
        })
        .during(|| "forking into the pod")?;
    }
    drop(container);
    serve_maps(&writer, &cgroups)?;
    process::exit(0)
}

/// What the container's process asks of the one outside.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Ask {
    /// Move me into my cgroups.
    Move,
    /// Write my maps: users, groups.
    Map(String, String),
}

/// Writes what the container's process cannot write itself, until it has what it needs.
fn serve_maps(writer: &OwnedFd, cgroups: &[OwnedFd]) -> Result<(), Failure> {
    loop {
        let mut buffer = [0; 1024];
        let received = passing::receive(writer.as_raw_fd(), &mut buffer)
            .during(|| "listening to the container's process")?;
        if received.count == 0 {
            // It failed and has said why.
            return Ok(());
        }
        let pid = received
            .sender
            .ok_or_else(|| Failure("the container's process is unknown".to_owned()))?;
        match serde_json::from_slice(&buffer[..received.count])
            .during(|| "reading the container's request")?
        {
            Ask::Move => {
                for cgroup in cgroups {
                    write_all(cgroup.as_fd(), pid.to_string().as_bytes())
                        .during(|| "moving the container into its cgroup")?;
                }
            }
            Ask::Map(users, groups) => {
                let one = |text: &str| {
                    ids::parse(text)
                        .first()
                        .copied()
                        .ok_or_else(|| Failure("the container asked for no map".to_owned()))
                };
                ids::write(&pid.to_string(), one(&users)?, one(&groups)?)?;
                passing::send(writer.as_raw_fd(), b"mapped", &[])
                    .during(|| "answering the container's process")?;
                return Ok(());
            }
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> std::io::Result<()> {
    // SAFETY: the slice is valid for its length. Control files take one write.
    super::failure::check(
        unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as i64,
    )
    .map(drop)
}

/// The third process: builds the container around itself and executes its command.
fn become_container(
    start: Start<'_>,
    pod_ids: ids::PodIds,
    early: rootfs::Early,
    outside: &OwnedFd,
) -> Result<Infallible, Failure> {
    let spec = start.plan.container;
    report::send(start.report.as_fd(), &Report::Here, &[]).during(|| "reporting to the shim")?;
    let ask = |ask: &Ask| {
        let text = serde_json::to_vec(ask).during(|| "asking for maps")?;
        passing::send(outside.as_raw_fd(), &text, &[]).during(|| "asking for maps")
    };
    if !start.cgroups.is_empty() {
        // Moving takes milliseconds; it happens while this process mounts.
        ask(&Ask::Move)?;
    }
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
    }
    process::unshare(libc::CLONE_NEWNS).during(|| "making a mount namespace")?;
    rootfs::build(&start.plan, pod_ids, early)?;
    let identity = user::resolve(&spec.user)?;
    // Below a second user namespace every mount is locked: no root in there can change one back.
    let (users, groups) = pod_ids.inner(identity.uid, identity.gid)?;
    process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).during(|| "locking the mounts")?;
    process::set_dumpable(true);
    ask(&Ask::Map(users.to_string(), groups.to_string()))?;
    let mut buffer = [0; 16];
    let answer =
        passing::receive(outside.as_raw_fd(), &mut buffer).during(|| "waiting for maps")?;
    if answer.count == 0 {
        // The process outside has told the shim why.
        process::exit(1);
    }
    // From here on nobody inside may look into this process: it still is the host's program.
    process::set_dumpable(false);
    let namespaces: Vec<OwnedFd> = ["user", "mnt", "pid"]
        .iter()
        .map(|kind| std::fs::File::open(format!("/proc/self/ns/{kind}")).map(OwnedFd::from))
        .collect::<Result<_, _>>()
        .during(|| "opening the container's namespaces")?;
    let terminal = if spec.tty {
        Some(devices::open_terminal().during(|| "opening a terminal")?)
    } else {
        None
    };
    let mut carried: Vec<_> = namespaces.iter().map(AsFd::as_fd).collect();
    carried.extend(terminal.as_ref().map(|(master, _)| master.as_fd()));
    report::send(
        start.report.as_fd(),
        &Report::Ready(identity.clone()),
        &carried,
    )
    .during(|| "reporting to the shim")?;
    drop(namespaces);
    let slave = terminal.map(|(_, slave)| slave);
    let program = Program::of(
        spec,
        &environment(spec, &identity, &start.plan.pod.hostname),
    )?;
    shed(spec, &identity, pod_ids.is_range())?;
    run(start, program, slave)
}

/// A plain process of the owner, where the owner allowed it: limits and a clean environment, and no walls.
fn without_isolation(start: Start<'_>) -> Result<Infallible, Failure> {
    let spec = start.plan.container;
    report::send(start.report.as_fd(), &Report::Here, &[]).during(|| "reporting to the shim")?;
    // SAFETY: plain system call.
    unsafe { libc::setsid() };
    // SAFETY: plain system calls.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let home = Some(start.plan.scratch.display().to_string());
    let identity = Identity {
        uid,
        gid,
        groups: Vec::new(),
        home,
    };
    let env = environment(spec, &identity, &start.plan.pod.hostname);
    let cwd = spec
        .cwd
        .as_deref()
        .filter(|cwd| cwd.is_dir())
        .unwrap_or(start.plan.scratch);
    std::env::set_current_dir(cwd).during(|| format!("entering {}", cwd.display()))?;
    let program = Program {
        cwd: None,
        ..Program::of(spec, &env)?
    };
    report::send(start.report.as_fd(), &Report::Ready(identity), &[])
        .during(|| "reporting to the shim")?;
    privileges::limit(&spec.limits)?;
    privileges::forbid_gaining()?;
    run(start, program, None)
}

/// Gives up everything the container's processes must not have.
pub fn shed(spec: &ContainerSpec, identity: &Identity, is_range: bool) -> Result<(), Failure> {
    if let Some(score) = spec.oom_score_adj {
        privileges::raise_oom_score(score);
    }
    privileges::limit(&spec.limits)?;
    let filters = filter::compile()?;
    privileges::forbid_gaining()?;
    confine::to_root()?;
    // While ids may still be changed; an ordinary owner's one id already is what it should be.
    let kept = privileges::capability_set(&spec.capabilities);
    privileges::bound(&kept)?;
    if is_range {
        let mut groups = identity.groups.clone();
        groups.retain(|group| *group != identity.gid);
        process::become_user(identity.uid, identity.gid, Some(&groups))
            .during(|| format!("becoming user {}", identity.uid))?;
    }
    process::set_dumpable(false);
    privileges::keep_only(if identity.uid == 0 { &kept } else { &[] })?;
    filter::apply(&filters)
}

/// Executes the program: as this process, or below a small init.
fn run(start: Start<'_>, program: Program, slave: Option<OwnedFd>) -> Result<Infallible, Failure> {
    let Start {
        plan,
        stdio,
        report,
        ..
    } = start;
    if plan.container.init || plan.pod.isolation == Isolation::HostProcess {
        return init::run(program, stdio, slave, report);
    }
    let mut keep = vec![report.as_raw_fd()];
    keep.extend(stdio.raw_fds());
    keep.extend(slave.iter().map(AsRawFd::as_raw_fd));
    process::close_all_but(&keep).during(|| "closing descriptors")?;
    let failed = program.execute(stdio, slave);
    let _ = report::send(report.as_fd(), &failed, &[]);
    process::exit(1)
}

/// The whole environment of the command: what the spec says, and the few variables every program may count on.
pub fn environment(
    spec: &ContainerSpec,
    identity: &Identity,
    hostname: &str,
) -> Vec<(String, String)> {
    let mut env = spec.env.clone();
    let mut add = |name: &str, value: &str| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    add("PATH", DEFAULT_PATH);
    add("HOME", identity.home.as_deref().unwrap_or("/"));
    add("HOSTNAME", hostname);
    if spec.tty {
        add("TERM", "xterm");
    }
    env
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be executed, in the form the kernel takes it.
#[derive(Debug)]
pub struct Program {
    arguments: Vec<CString>,
    env: Vec<CString>,
    path: String,
    /// Entered first.
    pub cwd: Option<CString>,
}

impl Program {
    /// A container's own command.
    pub fn of(spec: &ContainerSpec, env: &[(String, String)]) -> Result<Self, Failure> {
        Self::new(
            &spec.command,
            env,
            spec.cwd.as_deref().unwrap_or(Path::new("/")),
        )
    }

    /// Any command.
    pub fn new(command: &[String], env: &[(String, String)], cwd: &Path) -> Result<Self, Failure> {
        if command.is_empty() {
            return Err(Failure(
                "no command given, and the image has none".to_owned(),
            ));
        }
        let c_string =
            |text: &str| CString::new(text).during(|| "reading the command and its environment");
        Ok(Self {
            arguments: command
                .iter()
                .map(|argument| c_string(argument))
                .collect::<Result<_, _>>()?,
            env: env
                .iter()
                .map(|(name, value)| c_string(&format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            path: env
                .iter()
                .rfind(|(name, _)| name == "PATH")
                .map_or(DEFAULT_PATH, |(_, value)| value)
                .to_owned(),
            cwd: Some(c_string(&cwd.display().to_string())?),
        })
    }

    /// Becomes the program. Returns only what went wrong.
    pub fn execute(&self, stdio: Stdio, slave: Option<OwnedFd>) -> Report {
        let name = self.arguments[0].to_string_lossy();
        if let Err(failure) = self.connect(stdio, slave) {
            return Report::CommandFailed(failure.0, 128);
        }
        process::reset_signals();
        let null_ended = |strings: &[CString]| {
            let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
            pointers.push(std::ptr::null());
            pointers
        };
        let (arguments, env) = (null_ended(&self.arguments), null_ended(&self.env));
        let candidates: Vec<CString> = if name.contains('/') {
            vec![self.arguments[0].clone()]
        } else {
            self.path
                .split(':')
                .filter_map(|folder| CString::new(format!("{folder}/{name}")).ok())
                .collect()
        };
        let mut worst = libc::ENOENT;
        for candidate in &candidates {
            if is_this_program(candidate) {
                return Report::CommandFailed(
                    format!("exec: {name:?} is the program that sets containers up"),
                    126,
                );
            }
            // SAFETY: both arrays end with a null pointer and their strings live on.
            unsafe { libc::execve(candidate.as_ptr(), arguments.as_ptr(), env.as_ptr()) };
            let errno = std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO);
            if errno != libc::ENOENT && errno != libc::ENOTDIR {
                worst = errno;
                break;
            }
        }
        if worst == libc::ENOENT {
            let place = if name.contains('/') {
                "no such file or directory"
            } else {
                "executable file not found in $PATH"
            };
            return Report::CommandFailed(format!("exec: {name:?}: {place}"), 127);
        }
        Report::CommandFailed(
            format!(
                "exec: {name:?}: {}",
                std::io::Error::from_raw_os_error(worst)
            ),
            126,
        )
    }

    /// Makes the streams 0, 1 and 2, and enters the working folder.
    fn connect(&self, stdio: Stdio, slave: Option<OwnedFd>) -> Result<(), Failure> {
        let step = || "connecting the streams";
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(OwnedFd::from)
            .during(step)?;
        let streams = match &slave {
            Some(slave) => {
                // SAFETY: plain system calls on an open descriptor.
                unsafe {
                    libc::setsid();
                    libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0);
                }
                [Some(slave), Some(slave), Some(slave)]
            }
            None => [
                stdio.stdin.as_ref(),
                stdio.stdout.as_ref(),
                stdio.stderr.as_ref(),
            ],
        };
        // Moved above 2 first, so that no stream overwrites another that is still to be moved.
        let moved: Vec<i64> = streams
            .iter()
            // SAFETY: plain system call on an open descriptor.
            .map(|stream| {
                unsafe {
                    libc::fcntl(
                        stream.unwrap_or(&null).as_raw_fd(),
                        libc::F_DUPFD_CLOEXEC,
                        3,
                    )
                }
                .into()
            })
            .map(super::failure::check)
            .collect::<Result<_, _>>()
            .during(step)?;
        for (number, fd) in moved.into_iter().enumerate() {
            // SAFETY: plain system call on an open descriptor.
            super::failure::check(unsafe { libc::dup2(fd as i32, number as i32) }.into())
                .during(step)?;
        }
        if let Some(cwd) = &self.cwd {
            // SAFETY: the string outlives the call.
            super::failure::check(unsafe { libc::chdir(cwd.as_ptr()) }.into())
                .during(|| format!("entering the working folder {}", cwd.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// Whether `path` leads to the program of the shim itself by a way that can be written, as `/proc/self/exe` does: executed
/// in a container it would be a handle on a file of the host. Our own image mounts the same file read-only, which is no
/// such handle.
fn is_this_program(path: &CString) -> bool {
    let identity = |path: &std::ffi::CStr| {
        // SAFETY: the structure is plain data and the string outlives the call.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            (libc::stat(path.as_ptr(), &mut stat) == 0).then_some((stat.st_dev, stat.st_ino))
        }
    };
    let is_read_only = || {
        // SAFETY: the structure is plain data and the string outlives the call.
        unsafe {
            let mut mount: libc::statvfs = std::mem::zeroed();
            libc::statvfs(path.as_ptr(), &mut mount) == 0 && mount.f_flag & libc::ST_RDONLY != 0
        }
    };
    identity(c"/proc/self/exe").is_some_and(|own| identity(path) == Some(own)) && !is_read_only()
}
