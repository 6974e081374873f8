//! The shim's own life: become a process of one's own, make the pod's namespaces, then one loop around `poll` until the
//! pod is shut down. One thread, no runtime: it forks all the time, and forking is only sound that way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::connection::{Connection, Purpose};
use super::disk;
use super::protocol::Reply;
use super::running::{Progress, Running, Sink, owned};
use super::spec::{ContainerRecord, Isolation, PodSpec};
use crate::cgroup::Cgroup;
use crate::sandbox::process::{self, Ended};
use crate::sandbox::report::{self, Report};
use crate::sandbox::{self, Failure, Pause, While};

/// How often memory is looked at where no cgroup does it.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// The grace when somebody ends the shim itself.
const GRACE_AT_SIGTERM: Duration = Duration::from_secs(5);

/// Runs the shim of the pod in `dir`. Called in a process of its own, before any thread exists.
pub fn main(dir: &Path) -> ExitCode {
    // The process that was started ends at once, so that whoever started it has no child to look after.
    let forked = process::clone(0, || {
        let code = match prepare(dir) {
            Ok(monitor) => {
                say("ready");
                process::detach_output();
                monitor.run()
            }
            Err(failure) => {
                say(&failure.0);
                1
            }
        };
        process::exit(code)
    });
    match forked {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("forking: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Whoever listened may be gone; the pod lives on.
    let _ = writeln!(io::stdout(), "{line}");
    let _ = io::stdout().flush();
}

fn prepare(dir: &Path) -> Result<Monitor, Failure> {
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
    process::close_all_but(&[]).during(|| "closing descriptors")?;
    process::set_name(c"pod-shim");
    let lock = disk::lock(dir).during(|| format!("locking {}", dir.display()))?;
    let lock = lock.ok_or_else(|| Failure("another shim already serves this pod".to_owned()))?;
    let pod: PodSpec = disk::read_spec(dir).during(|| "reading what the pod is to be")?;
    let signals =
        process::watch_signals(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
            .during(|| "watching signals")?;
    let pause = match pod.isolation {
        Isolation::Sandbox => Some(sandbox::start_pause(&pod)?),
        Isolation::HostProcess => None,
    };
    let folder = File::open(dir).during(|| format!("opening {}", dir.display()))?;
    let address = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), disk::SOCKET);
    match std::fs::remove_file(&address) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure(format!("removing an old socket: {error}")));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&address).during(|| "listening on the shim's socket")?;
    listener
        .set_nonblocking(true)
        .during(|| "listening on the shim's socket")?;
    let pid = std::process::id() as i32;
    let identity = disk::Identity {
        pid,
        start_ticks: disk::start_ticks(pid).during(|| "reading when this process started")?,
        pause_pid: pause.as_ref().map(|pause| pause.pid),
        node_net_fd: pause
            .as_ref()
            .and_then(Pause::node_net)
            .map(|fd| fd.as_raw_fd()),
    };
    disk::write_identity(dir, &identity).during(|| "writing who the shim is")?;
    Ok(Monitor {
        dir: dir.to_owned(),
        pod,
        pause,
        _lock: lock,
        listener,
        signals,
        containers: BTreeMap::new(),
        execs: BTreeMap::new(),
        connections: BTreeMap::new(),
        sinks: Vec::new(),
        leftover: Vec::new(),
        next_id: 0,
        is_closing: false,
        watched_at: Instant::now(),
    })
}

/// The shim.
#[derive(Debug)]
pub struct Monitor {
    pub(super) dir: PathBuf,
    pub(super) pod: PodSpec,
    pub(super) pause: Option<Pause>,
    _lock: File,
    listener: UnixListener,
    signals: OwnedFd,
    /// What runs, by name.
    pub(super) containers: BTreeMap<String, Running>,
    pub(super) execs: BTreeMap<u64, ExecRun>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) sinks: Vec<Sink>,
    leftover: Vec<Cgroup>,
    next_id: u64,
    pub(super) is_closing: bool,
    watched_at: Instant,
}

/// A second process in a container.
#[derive(Debug)]
pub struct ExecRun {
    /// Where it runs.
    pub container: String,
    /// Who waits for it, if anybody still does.
    pub connection: Option<u64>,
    /// Where it reports until it is executed.
    pub report: Option<OwnedFd>,
    /// Its host pid.
    pub pid: Option<i32>,
    /// The master side of its terminal, until it is handed over.
    pub terminal: Option<OwnedFd>,
    /// Whether it has one.
    pub tty: bool,
    /// Whether it ends with its connection.
    pub kill_on_disconnect: bool,
    /// What went wrong.
    pub failure: Option<String>,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Whether the caller knows that it runs.
    pub is_announced: bool,
}

/// What a polled descriptor belongs to.
#[derive(Clone, Debug)]
enum Token {
    Listener,
    Signals,
    Connection(u64),
    Report(String),
    Output(String, RawFd),
    Exec(u64),
    Sink(RawFd),
}

impl Monitor {
    fn run(mut self) -> i32 {
        loop {
            let (mut polled, tokens) = self.watched();
            let timeout = self.tick();
            // SAFETY: the vector is valid for its length.
            unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
            for (entry, token) in polled.iter().zip(tokens) {
                if entry.revents != 0 {
                    self.handle(token, entry.revents);
                }
            }
            self.settle();
            if self.is_closing && self.containers.is_empty() {
                return self.close();
            }
        }
    }

    fn watched(&self) -> (Vec<libc::pollfd>, Vec<Token>) {
        let (mut polled, mut tokens) = (Vec::new(), Vec::new());
        let mut watch = |fd: RawFd, events: i16, token: Token| {
            polled.push(libc::pollfd {
                fd,
                events,
                revents: 0,
            });
            tokens.push(token);
        };
        watch(self.signals.as_raw_fd(), libc::POLLIN, Token::Signals);
        watch(self.listener.as_raw_fd(), libc::POLLIN, Token::Listener);
        for (id, connection) in &self.connections {
            let events = if connection.has_outgoing() {
                libc::POLLIN | libc::POLLOUT
            } else {
                libc::POLLIN
            };
            watch(connection.raw_fd(), events, Token::Connection(*id));
        }
        for (name, container) in &self.containers {
            if let Some(report) = &container.report {
                watch(
                    report.as_raw_fd(),
                    libc::POLLIN,
                    Token::Report(name.clone()),
                );
            }
            for output in &container.outputs {
                let fd = output.fd.as_raw_fd();
                watch(fd, libc::POLLIN, Token::Output(name.clone(), fd));
            }
        }
        for (id, exec) in &self.execs {
            if let Some(report) = &exec.report {
                watch(report.as_raw_fd(), libc::POLLIN, Token::Exec(*id));
            }
        }
        for sink in &self.sinks {
            // Without events a reader that left is still told.
            let events = if sink.has_pending() { libc::POLLOUT } else { 0 };
            watch(sink.raw_fd(), events, Token::Sink(sink.raw_fd()));
        }
        (polled, tokens)
    }

    /// Does what is due and tells in how many milliseconds the next thing is; -1 for nothing.
    fn tick(&mut self) -> i32 {
        let now = Instant::now();
        let mut next: Option<Duration> = self
            .containers
            .values_mut()
            .filter_map(|container| container.tick(now))
            .min();
        if self.containers.values().any(Running::needs_watching) {
            if now.duration_since(self.watched_at) >= WATCH_EVERY {
                self.watched_at = now;
                self.containers
                    .values_mut()
                    .filter(|container| container.needs_watching())
                    .for_each(Running::watch_memory);
            }
            let due = WATCH_EVERY.saturating_sub(now.duration_since(self.watched_at));
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        self.leftover.retain(|cgroup| !cgroup.remove());
        if !self.leftover.is_empty() {
            let soon = Duration::from_millis(20);
            next = Some(next.map_or(soon, |next| next.min(soon)));
        }
        next.map_or(-1, |next| next.as_millis() as i32 + 1)
    }

    fn handle(&mut self, token: Token, events: i16) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.receive_signals(),
            Token::Connection(id) => self.serve(id, events),
            Token::Report(name) => self.hear(&name),
            Token::Output(name, fd) => {
                if let Some(container) = self.containers.get_mut(&name)
                    && let Some(index) = container
                        .outputs
                        .iter()
                        .position(|output| output.fd.as_raw_fd() == fd)
                    && !container.read_output(index, &mut self.sinks)
                {
                    container.outputs.remove(index);
                }
            }
            Token::Exec(id) => self.hear_exec(id),
            Token::Sink(fd) => {
                if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.raw_fd() == fd) {
                    if events & libc::POLLERR != 0 {
                        sink.close();
                    } else {
                        sink.flush();
                    }
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            // SAFETY: no address is asked for.
            let accepted = unsafe {
                libc::accept4(
                    self.listener.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                )
            };
            if accepted < 0 {
                return;
            }
            let id = self.new_id();
            self.connections
                .insert(id, Connection::new(owned(accepted.into())));
        }
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn receive_signals(&mut self) {
        while let Some(signal) = process::next_signal(self.signals.as_fd()) {
            if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                self.is_closing = true;
                self.stop_all(GRACE_AT_SIGTERM);
            }
        }
        while let Some((pid, ended)) = process::reap() {
            self.reaped(pid, ended);
        }
    }

    fn reaped(&mut self, pid: i32, ended: Ended) {
        if self.pause.as_ref().is_some_and(|pause| pause.pid == pid) {
            eprintln!(
                "the pod's namespaces are gone: the process that held them ended ({ended:?})"
            );
            self.is_closing = true;
            return;
        }
        // A report sent before the end may be unread.
        let names: Vec<String> = self.containers.keys().cloned().collect();
        for name in names {
            self.hear(&name);
            if let Some(container) = self.containers.get_mut(&name)
                && container.is_first(pid)
            {
                container.reaped(ended);
                return;
            }
        }
        let ids: Vec<u64> = self.execs.keys().copied().collect();
        for id in ids {
            self.hear_exec(id);
            if let Some(exec) = self.execs.get_mut(&id)
                && exec.pid == Some(pid)
            {
                exec.ended = Some(ended);
                return;
            }
        }
    }

    fn hear(&mut self, name: &str) {
        let Some(container) = self.containers.get_mut(name) else {
            return;
        };
        if container.hear() == Progress::Started {
            container.persist(&self.dir);
            let record = container.record.clone();
            if let Some(id) = container.starter.take() {
                self.finish(id, &Reply::Record(Box::new(record.clone())));
            }
            self.tell_watchers(&record);
        }
    }

    fn hear_exec(&mut self, id: u64) {
        let Some(exec) = self.execs.get_mut(&id) else {
            return;
        };
        while let Some(socket) = &exec.report {
            match report::receive(socket.as_fd()) {
                Ok(Some(mut message)) => match message.report {
                    Report::Here => {
                        exec.pid = message.sender;
                        exec.terminal = message.fds.pop();
                        if let (Some(pid), Some(container)) =
                            (exec.pid, self.containers.get_mut(&exec.container))
                        {
                            container.execs.push(pid);
                        }
                    }
                    Report::SetupFailed(text) | Report::CommandFailed(text, _) => {
                        exec.failure = Some(text)
                    }
                    Report::Ready(_) | Report::Started | Report::Ended(_) => {}
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => exec.report = None,
            }
        }
    }

    /// Draws the conclusions of what was heard: ends containers and execs, closes connections.
    fn settle(&mut self) {
        let over: Vec<String> = self
            .containers
            .iter()
            .filter(|(_, container)| container.is_over())
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.end_container(&name);
        }
        let ids: Vec<u64> = self.execs.keys().copied().collect();
        for id in ids {
            self.settle_exec(id);
        }
        self.sinks.retain(|sink| !sink.is_done());
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            let connection = self
                .connections
                .get_mut(&id)
                .expect("the id was just listed");
            let is_alive = connection.flush();
            if !is_alive || (connection.is_finished && !connection.has_outgoing()) {
                self.disconnect(id);
            }
        }
    }

    fn end_container(&mut self, name: &str) {
        let Some(mut container) = self.containers.remove(name) else {
            return;
        };
        let outcome = container.finish(&mut self.sinks);
        self.leftover.extend(container.leftover());
        for sink in self.sinks.iter_mut().filter(|sink| sink.container == name) {
            sink.is_closing = true;
        }
        let record = container.record.clone();
        match outcome {
            Ok(()) => {
                container.persist(&self.dir);
                if let Some(id) = container.starter.take() {
                    self.finish(id, &Reply::Record(Box::new(record.clone())));
                }
                self.tell_watchers(&record);
            }
            Err(message) => {
                eprintln!("starting {name}: {message}");
                if let Some(id) = container.starter.take() {
                    self.finish(id, &Reply::Failed { message });
                }
            }
        }
        for id in std::mem::take(&mut container.stoppers) {
            // `Stop` of several containers is answered when none of them is left.
            if !self
                .containers
                .values()
                .any(|other| other.stoppers.contains(&id))
            {
                self.finish(id, &Reply::Done);
            }
        }
    }

    fn settle_exec(&mut self, id: u64) {
        let Some(exec) = self.execs.get_mut(&id) else {
            return;
        };
        if exec.report.is_some() {
            return;
        }
        let never_ran = exec.failure.is_some() || exec.pid.is_none();
        if !never_ran && !exec.is_announced {
            exec.is_announced = true;
            let reply = Reply::Streaming {
                pid: exec.pid,
                tty: exec.tty,
            };
            let fds = exec.terminal.take().into_iter().collect();
            if let Some(connection) = exec.connection.and_then(|id| self.connections.get_mut(&id)) {
                connection.answer(&reply, fds);
            }
        }
        let reply = match (&exec.failure, exec.ended) {
            (Some(message), _) => Reply::Failed {
                message: message.clone(),
            },
            (None, Some(ended)) => Reply::ExecEnded {
                exit_code: ended.code,
            },
            (None, None) if exec.pid.is_none() => Reply::Failed {
                message: "the process ended while it was set up".to_owned(),
            },
            (None, None) => return,
        };
        let exec = self.execs.remove(&id).expect("it was just looked at");
        if let (Some(pid), Some(container)) = (exec.pid, self.containers.get_mut(&exec.container)) {
            container.execs.retain(|known| *known != pid);
        }
        if let Some(connection) = exec.connection {
            self.finish(connection, &reply);
        }
    }

    /// Sends a last answer.
    pub(super) fn finish(&mut self, id: u64, reply: &Reply) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.finish(reply);
        }
    }

    fn tell_watchers(&mut self, record: &ContainerRecord) {
        let reply = Reply::Record(Box::new(record.clone()));
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| connection.purpose == Purpose::Watching)
        {
            connection.answer(&reply, Vec::new());
        }
    }

    pub(super) fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        match connection.purpose {
            Purpose::Exec(exec) => {
                if let Some(exec) = self.execs.get_mut(&exec) {
                    exec.connection = None;
                    if exec.kill_on_disconnect
                        && let Some(pid) = exec.pid.filter(|_| exec.ended.is_none())
                    {
                        // SAFETY: plain system call; the process is not reaped, so the pid is still its own.
                        unsafe { libc::kill(pid, libc::SIGKILL) };
                    }
                }
            }
            Purpose::Attached(container) => {
                if let Some(container) = self.containers.get_mut(&container)
                    && container.spec.stdin_once
                {
                    container.stdin = None;
                }
            }
            Purpose::Greeting | Purpose::Asking | Purpose::Waiting | Purpose::Watching => {}
        }
    }

    pub(super) fn stop_all(&mut self, grace: Duration) {
        for container in self.containers.values_mut() {
            if let Err(error) = container.stop(grace) {
                eprintln!("stopping {}: {error}", container.spec.name);
            }
        }
    }

    fn close(mut self) -> i32 {
        let until = Instant::now() + Duration::from_secs(2);
        while !self.leftover.is_empty() && Instant::now() < until {
            self.leftover.retain(|cgroup| !cgroup.remove());
            std::thread::sleep(Duration::from_millis(5));
        }
        // Whatever the pod's namespaces still hold ends with the process that holds them.
        if let Some(pause) = self.pause.take() {
            let pid = pause.pid;
            // SAFETY: plain system calls on our own child.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
        let _ = std::fs::remove_file(self.dir.join(disk::SOCKET));
        for connection in self.connections.values_mut() {
            connection.flush();
        }
        0
    }
}
