//! One attempt of a container while it runs: its streams, its log, its clock, and what is known of its end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::disk;
use super::log::{Log, Stream};
use super::spec::{
    ContainerPhase, ContainerRecord, ContainerSpec, ContainerUsage, Isolation, PodSpec,
};
use crate::cgroup::Cgroup;
use crate::cgroup::sample::Sample;
use crate::sandbox::process::Ended;
use crate::sandbox::report::{self, Message, Report};
use crate::sandbox::{self, Failure, Identity, Pause, Plan, Start, Stdio, While, passing};

/// What an attached reader may lag behind before it is cut off.
const MAX_LAG_BYTES: usize = 1 << 20;

/// A running attempt.
#[derive(Debug)]
pub struct Running {
    /// What it was asked to be.
    pub spec: ContainerSpec,
    /// Where it stands.
    pub record: ContainerRecord,
    /// Who its command is; known once it is set up.
    pub identity: Option<Identity>,
    /// Its user, mount and PID namespaces; known once it is set up, none without isolation.
    pub namespaces: Vec<OwnedFd>,
    /// Where its processes report; closed when they have no more to say.
    pub report: Option<OwnedFd>,
    /// What it prints.
    pub outputs: Vec<Output>,
    /// Its stdin.
    pub stdin: Option<OwnedFd>,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Connections that wait for its start, and for its end.
    pub starter: Option<u64>,
    /// Connections that wait for its end.
    pub stoppers: Vec<u64>,
    /// When to kill it.
    pub kill_at: Option<Instant>,
    /// Host pids of the second processes in it.
    pub execs: Vec<i32>,
    /// Whether its first process has been reaped.
    pub is_reaped: bool,
    first: Option<i32>,
    ended: Option<Ended>,
    failure: Option<Trouble>,
    is_out_of_memory: bool,
    cgroup: Option<Cgroup>,
    log: Log,
    shares_pids: bool,
}

/// Why there was nothing to run.
#[derive(Clone, Debug)]
enum Trouble {
    Setup(String),
    Command(String),
}

/// One of a container's output streams.
#[derive(Debug)]
pub struct Output {
    /// The end to read.
    pub fd: OwnedFd,
    /// Which stream it is.
    pub stream: Stream,
}

/// What a report means to those who wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell.
    Going,
    /// The command runs.
    Started,
    /// No process will report any more.
    Silent,
}

impl Running {
    /// Begins to start a container.
    pub fn start(
        pod: &PodSpec,
        pause: Option<&Pause>,
        spec: ContainerSpec,
    ) -> Result<Self, Failure> {
        let scratch = disk::scratch(&pod.dir, &spec.name, spec.attempt);
        disk::private_dir(&scratch).during(|| format!("making {}", scratch.display()))?;
        let log = Log::open(&spec.log)
            .during(|| format!("opening the log {}", spec.log.path.display()))?;
        let plan = Plan {
            pod,
            container: &spec,
            scratch: &scratch,
        };
        if pod.isolation == Isolation::Sandbox {
            plan.prepare()?;
        }
        let cgroup_name = format!("ferroflow/{}/{}-{}", pod.uid, spec.name, spec.attempt);
        let cgroup = Cgroup::create(&cgroup_name, &spec.limits)
            .during(|| "making the container's cgroup")?;
        let doors = match &cgroup {
            Some(cgroup) => cgroup.doors().during(|| "opening the container's cgroup")?,
            None => Vec::new(),
        };
        let (mut stdio, mut outputs, mut stdin) = (Stdio::default(), Vec::new(), None);
        if !spec.tty {
            let output = |outputs: &mut Vec<Output>, stream| -> Result<OwnedFd, Failure> {
                let (read, write) = output_pipe().during(|| "making a pipe")?;
                outputs.push(Output { fd: read, stream });
                Ok(write)
            };
            stdio.stdout = Some(output(&mut outputs, Stream::Stdout)?);
            stdio.stderr = Some(output(&mut outputs, Stream::Stderr)?);
            if spec.stdin {
                let (read, write) = passing::pipe().during(|| "making a pipe")?;
                stdio.stdin = Some(read);
                stdin = Some(write);
            }
        }
        let (ours, theirs) = passing::pair().during(|| "making sockets")?;
        passing::set_nonblocking(&ours).during(|| "making sockets")?;
        sandbox::start_container(Start {
            plan,
            pause,
            stdio,
            cgroups: doors,
            report: theirs,
        })?;
        let record = ContainerRecord {
            name: spec.name.clone(),
            attempt: spec.attempt,
            phase: ContainerPhase::Starting,
            pid: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            reason: None,
            message: None,
        };
        Ok(Self {
            record,
            identity: None,
            namespaces: Vec::new(),
            report: Some(ours),
            outputs,
            stdin,
            terminal: None,
            starter: None,
            stoppers: Vec::new(),
            kill_at: None,
            execs: Vec::new(),
            is_reaped: false,
            first: None,
            ended: None,
            failure: None,
            is_out_of_memory: false,
            cgroup,
            log,
            shares_pids: pod.share_process_namespace || pod.isolation == Isolation::HostProcess,
            spec,
        })
    }

    /// Whether `pid` is its first process.
    pub fn is_first(&self, pid: i32) -> bool {
        self.first == Some(pid)
    }

    /// Reads the reports that have arrived.
    pub fn hear(&mut self) -> Progress {
        let mut progress = Progress::Going;
        while let Some(socket) = &self.report {
            match report::receive(socket.as_fd()) {
                Ok(Some(message)) => {
                    if self.take(message) {
                        progress = Progress::Started;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return progress,
                Ok(None) | Err(_) => {
                    self.report = None;
                    // A command that is executed without an init closes the socket by being executed.
                    if !self.spec.init
                        && self.failure.is_none()
                        && self.identity.is_some()
                        && self.record.started_at.is_none()
                    {
                        self.started();
                        return Progress::Started;
                    }
                    return if progress == Progress::Started {
                        progress
                    } else {
                        Progress::Silent
                    };
                }
            }
        }
        progress
    }

    /// Takes one report; `true` when the command has just been executed.
    fn take(&mut self, message: Message) -> bool {
        match message.report {
            Report::Here => self.first = message.sender,
            Report::Ready(identity) => {
                self.identity = Some(identity);
                self.namespaces = message.fds;
                if self.namespaces.len() > 3 {
                    self.terminal = self.namespaces.pop();
                }
                if let Some(terminal) = &self.terminal
                    && let Ok(fd) = terminal.try_clone()
                    && passing::set_nonblocking(&fd).is_ok()
                {
                    self.outputs.push(Output {
                        fd,
                        stream: Stream::Stdout,
                    });
                }
            }
            Report::Started => {
                self.started();
                return true;
            }
            Report::SetupFailed(message) => {
                self.failure.get_or_insert(Trouble::Setup(message));
            }
            Report::CommandFailed(message, _) => {
                self.failure.get_or_insert(Trouble::Command(message));
            }
            Report::Ended(ended) => self.ended = Some(ended),
        }
        false
    }

    fn started(&mut self) {
        self.record.phase = ContainerPhase::Running;
        self.record.pid = self.first;
        self.record.started_at = Some(Timestamp::now());
    }

    /// Its first process was reaped.
    pub fn reaped(&mut self, ended: Ended) {
        self.is_reaped = true;
        self.ended.get_or_insert(ended);
    }

    /// Whether nothing of it is left: no process, and none that could still report.
    pub fn is_over(&self) -> bool {
        self.report.is_none() && (self.is_reaped || self.first.is_none())
    }

    /// Reads one output; every reader gets a copy. `false` when it has ended.
    pub fn read_output(&mut self, index: usize, sinks: &mut [Sink]) -> bool {
        let mut buffer = [0u8; 32 << 10];
        loop {
            let output = &self.outputs[index];
            // SAFETY: the buffer is valid for its length.
            let count = unsafe {
                libc::read(
                    output.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                )
            };
            match count {
                0 => return false,
                1.. => {
                    let bytes = &buffer[..count as usize];
                    for sink in sinks.iter_mut().filter(|sink| {
                        sink.container == self.spec.name && sink.stream == output.stream
                    }) {
                        sink.push(bytes);
                    }
                    if let Err(error) = self.log.write(output.stream, bytes, Timestamp::now()) {
                        eprintln!("writing the log of {}: {error}", self.spec.name);
                    }
                    // Others want their turn, too; poll tells when there is more.
                    if (count as usize) < buffer.len() {
                        return true;
                    }
                }
                _ => {
                    let error = io::Error::last_os_error();
                    // A terminal whose last process has closed it answers EIO.
                    return matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    );
                }
            }
        }
    }

    /// Everything is over: the log is completed and the record says how it ended. `Err`: it never came to a command.
    pub fn finish(&mut self, sinks: &mut [Sink]) -> Result<(), String> {
        for index in 0..self.outputs.len() {
            self.read_output(index, sinks);
        }
        self.outputs.clear();
        let now = Timestamp::now();
        if let Err(error) = self.log.finish(now) {
            eprintln!("completing the log of {}: {error}", self.spec.name);
        }
        let is_killed = self.ended.is_some_and(|ended| ended.code == 137);
        if let Some(cgroup) = &self.cgroup {
            self.is_out_of_memory |=
                cgroup.oom_kills() > 0 && self.ended.is_some_and(|ended| ended.code != 0);
        }
        let record = &mut self.record;
        record.phase = ContainerPhase::Exited;
        record.pid = None;
        record.finished_at = Some(now);
        match (&self.failure, self.ended) {
            (Some(Trouble::Setup(message)), _) => return Err(message.clone()),
            (Some(Trouble::Command(message)), _) => {
                record.exit_code = Some(128);
                record.reason = Some("StartError".to_owned());
                record.message = Some(message.clone());
            }
            (None, None) => {
                return Err("the container's process ended while it was set up".to_owned());
            }
            (None, Some(_)) if record.started_at.is_none() => {
                return Err("the container's process was killed while it was set up".to_owned());
            }
            (None, Some(ended)) => {
                record.exit_code = Some(ended.code);
                record.signal = ended.signal;
                record.oom_killed = self.is_out_of_memory;
                record.reason = Some(
                    match (self.is_out_of_memory, ended.code) {
                        (true, _) => "OOMKilled",
                        (false, 0) => "Completed",
                        (false, _) => "Error",
                    }
                    .to_owned(),
                );
                if self.is_out_of_memory && is_killed {
                    record.signal = Some(libc::SIGKILL);
                }
            }
        }
        Ok(())
    }

    /// Its cgroup, once it is empty; `None` when nothing is left to remove.
    pub fn leftover(&mut self) -> Option<Cgroup> {
        self.cgroup.take().filter(|cgroup| !cgroup.remove())
    }

    /// Sends a signal to its command; SIGKILL ends everything in it.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let Some(first) = self.first.filter(|_| !self.is_reaped) else {
            return Ok(());
        };
        if signal == libc::SIGKILL && self.shares_pids && self.spec.init {
            // Its init ends by itself once its children have, and reports how.
            let mut processes = Sample::take(&[first]).pids;
            processes.remove(&first);
            if !processes.is_empty() {
                processes.into_iter().for_each(|pid| {
                    // SAFETY: plain system call.
                    unsafe { libc::kill(pid, signal) };
                });
                return Ok(());
            }
        }
        // SAFETY: plain system call; the process is not reaped, so the pid is still its own.
        sandbox::check(unsafe { libc::kill(first, signal) }.into()).map(drop)
    }

    /// Begins to stop it: SIGTERM, and the clock.
    pub fn stop(&mut self, grace: Duration) -> io::Result<()> {
        let at = Instant::now() + grace;
        let is_sooner = self.kill_at.is_none_or(|known| at < known);
        if is_sooner {
            self.kill_at = Some(at);
        }
        if grace.is_zero() || self.record.phase == ContainerPhase::Starting {
            return self.signal(libc::SIGKILL);
        }
        self.signal(libc::SIGTERM)
    }

    /// Kills it when its grace is over; returns how long until then.
    pub fn tick(&mut self, now: Instant) -> Option<Duration> {
        let at = self.kill_at?;
        if at > now {
            return Some(at - now);
        }
        if let Err(error) = self.signal(libc::SIGKILL) {
            eprintln!("killing {}: {error}", self.spec.name);
        }
        // Once is enough where the kernel ends a whole namespace; elsewhere processes may have been forked meanwhile.
        let again = Duration::from_millis(100);
        self.kill_at = Some(now + again);
        Some(again)
    }

    /// Whether its memory must be watched from here.
    pub fn needs_watching(&self) -> bool {
        self.spec.limits.memory_bytes.is_some()
            && !self.cgroup.as_ref().is_some_and(Cgroup::limits_memory)
    }

    /// Kills it when it uses more memory than it may.
    pub fn watch_memory(&mut self) {
        let Some(limit) = self.spec.limits.memory_bytes else {
            return;
        };
        let sample = self.sample();
        if sample.resident_bytes > limit && sample.proportional_bytes() > limit {
            self.is_out_of_memory = true;
            if let Err(error) = self.signal(libc::SIGKILL) {
                eprintln!(
                    "killing {}, which is over its memory limit: {error}",
                    self.spec.name
                );
            }
        }
    }

    fn sample(&self) -> Sample {
        let mut roots: Vec<i32> = self.first.filter(|_| !self.is_reaped).into_iter().collect();
        roots.extend(&self.execs);
        Sample::take(&roots)
    }

    /// What it uses.
    pub fn usage(&self) -> ContainerUsage {
        let sample = self.sample();
        let figures = self
            .cgroup
            .as_ref()
            .map(Cgroup::figures)
            .unwrap_or_default();
        ContainerUsage {
            name: self.spec.name.clone(),
            cpu_nanos: figures.cpu_nanos.unwrap_or(sample.cpu_nanos),
            memory_bytes: figures.memory_bytes.unwrap_or(sample.resident_bytes),
            processes: figures.processes.unwrap_or(sample.pids.len() as u64),
        }
    }

    /// Files that take a second process into its cgroup.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.cgroup
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), Cgroup::doors)
    }

    /// Writes its record.
    pub fn persist(&self, dir: &Path) {
        if let Err(error) = disk::write_record(dir, &self.record) {
            eprintln!("writing the record of {}: {error}", self.spec.name);
        }
    }
}

/// A pipe whose other end is a container's: opened again by its path it must be as accessible as inherited.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = passing::pipe()?;
    passing::set_nonblocking(&read)?;
    // SAFETY: plain system call on an open descriptor.
    sandbox::check(unsafe { libc::fchmod(write.as_raw_fd(), 0o666) }.into())?;
    Ok((read, write))
}

/// An attached reader of a container's output.
#[derive(Debug)]
pub struct Sink {
    /// Whose output.
    pub container: String,
    /// Which stream.
    pub stream: Stream,
    fd: OwnedFd,
    pending: VecDeque<u8>,
    /// Nothing more will come: closed when all is written.
    pub is_closing: bool,
    is_broken: bool,
}

impl Sink {
    /// Takes the write end of a pipe.
    pub fn new(container: &str, stream: Stream, fd: OwnedFd) -> io::Result<Self> {
        passing::set_nonblocking(&fd)?;
        Ok(Self {
            container: container.to_owned(),
            stream,
            fd,
            pending: VecDeque::new(),
            is_closing: false,
            is_broken: false,
        })
    }

    /// Its descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether something waits to be written.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether it is done with.
    pub fn is_done(&self) -> bool {
        self.is_broken || (self.is_closing && self.pending.is_empty())
    }

    /// Its reader is gone.
    pub fn close(&mut self) {
        self.is_broken = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > MAX_LAG_BYTES {
            self.is_broken = true;
            return;
        }
        self.pending.extend(bytes);
        self.flush();
    }

    /// Writes what the pipe takes.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() {
            let (bytes, _) = self.pending.as_slices();
            // SAFETY: the slice is valid for its length.
            let written =
                unsafe { libc::write(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            match written {
                1.. => drop(self.pending.drain(..written as usize)),
                _ => {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        io::ErrorKind::WouldBlock => return,
                        _ => {
                            self.is_broken = true;
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// A descriptor that came from the kernel as a number.
pub fn owned(fd: i64) -> OwnedFd {
    // SAFETY: callers pass what a system call has just returned.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
