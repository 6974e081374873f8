//! What the shim does when it is asked.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::connection::Purpose;
use super::disk;
use super::log::Stream;
use super::monitor::{ExecRun, Monitor};
use super::protocol::{NEWEST, OLDEST, Reply, Request};
use super::running::{Running, Sink};
use super::spec::{ContainerPhase, ContainerSpec, ExecSpec};
use crate::net;
use crate::sandbox::report::{self, Report};
use crate::sandbox::{self, Failure, Join, Stdio, While, passing, process};

impl Monitor {
    /// Reads from and writes to one connection.
    pub(super) fn serve(&mut self, id: u64, events: i16) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut is_alive = connection.flush();
        if events & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0 {
            is_alive &= connection.read().unwrap_or(false);
        }
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            match connection.next() {
                Ok(Some((request, fds))) => self.answer(id, request, fds),
                Ok(None) => break,
                Err(error) => {
                    connection.finish(&Reply::Failed {
                        message: format!("a request this shim does not understand: {error}"),
                    });
                    break;
                }
            }
        }
        if !is_alive {
            self.disconnect(id);
        }
    }

    fn answer(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.purpose == Purpose::Greeting {
            match request {
                Request::Hello { oldest, newest } if oldest <= NEWEST && newest >= OLDEST => {
                    connection.purpose = Purpose::Asking;
                    connection.answer(&Reply::Hello { version: newest.min(NEWEST) }, Vec::new());
                }
                _ => connection.finish(&Reply::Failed {
                    message: format!("this shim speaks versions {OLDEST} to {NEWEST} of its protocol; delete the pod to replace it"),
                }),
            }
            return;
        }
        if connection.purpose != Purpose::Asking {
            connection.finish(&Reply::Failed {
                message: "one request per connection".to_owned(),
            });
            return;
        }
        connection.purpose = Purpose::Waiting;
        if let Err(failure) = self.obey(id, request, fds) {
            self.finish(id, &Reply::Failed { message: failure.0 });
        }
    }

    fn obey(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        match request {
            Request::Hello { .. } => Err(Failure("versions are exchanged once".to_owned())),
            Request::ConfigureNetwork { address, gateway } => {
                self.configure_network(&net::pod::PodLink { address, gateway })?;
                self.finish(id, &Reply::Done);
                Ok(())
            }
            Request::Start(spec) => self.start(id, *spec),
            Request::Signal { container, signal } => {
                self.running(&container)?
                    .signal(signal)
                    .during(|| format!("sending signal {signal} to {container}"))?;
                self.finish(id, &Reply::Done);
                Ok(())
            }
            Request::Stop {
                container,
                grace_ms,
            } => self.stop(id, container.as_deref(), Duration::from_millis(grace_ms)),
            Request::Exec(spec) => self.exec(id, &spec, fds),
            Request::Attach {
                container,
                stdin,
                stdout,
                stderr,
            } => self.attach(id, &container, [stdin, stdout, stderr], fds),
            Request::CloseStdin { container } => {
                self.running(&container)?.stdin = None;
                self.finish(id, &Reply::Done);
                Ok(())
            }
            Request::Sockets => {
                let sockets = self.sockets()?;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.answer(&Reply::Sockets, sockets);
                    connection.is_finished = true;
                }
                Ok(())
            }
            Request::Subscribe => {
                let mut records = disk::records(&self.dir).during(|| "reading the records")?;
                for container in self.containers.values() {
                    let same = |record: &&mut super::ContainerRecord| {
                        record.name == container.record.name
                            && record.attempt == container.record.attempt
                    };
                    match records.iter_mut().find(same) {
                        Some(record) => *record = container.record.clone(),
                        None => records.push(container.record.clone()),
                    }
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.answer(&Reply::Records(records), Vec::new());
                    connection.purpose = Purpose::Watching;
                }
                Ok(())
            }
            Request::Usage => {
                let running = self
                    .containers
                    .values()
                    .filter(|container| container.record.phase == ContainerPhase::Running);
                let usage = running.map(Running::usage).collect();
                self.finish(id, &Reply::Usage(usage));
                Ok(())
            }
            Request::Shutdown => {
                self.is_closing = true;
                self.stop_all(Duration::ZERO);
                self.finish(id, &Reply::Done);
                Ok(())
            }
        }
    }

    fn running(&mut self, name: &str) -> Result<&mut Running, Failure> {
        self.containers
            .get_mut(name)
            .ok_or_else(|| Failure(format!("container {name} is not running")))
    }

    fn start(&mut self, id: u64, spec: ContainerSpec) -> Result<(), Failure> {
        let name = spec.name.clone();
        let is_plain =
            |part: &str| !part.is_empty() && !part.contains('/') && part != "." && part != "..";
        if !is_plain(&name) {
            return Err(Failure(format!("{name:?} is no name for a container")));
        }
        if self.is_closing {
            return Err(Failure("the pod is being shut down".to_owned()));
        }
        if self.containers.contains_key(&name) {
            return Err(Failure(format!("container {name} is running already")));
        }
        let mut container = Running::start(&self.pod, self.pause.as_ref(), spec)?;
        container.starter = Some(id);
        container.persist(&self.dir);
        self.containers.insert(name, container);
        Ok(())
    }

    fn stop(&mut self, id: u64, name: Option<&str>, grace: Duration) -> Result<(), Failure> {
        let mut is_waiting = false;
        for container in self
            .containers
            .values_mut()
            .filter(|container| name.is_none_or(|name| name == container.spec.name))
        {
            container
                .stop(grace)
                .during(|| format!("stopping {}", container.spec.name))?;
            container.stoppers.push(id);
            is_waiting = true;
        }
        if !is_waiting {
            self.finish(id, &Reply::Done);
        }
        Ok(())
    }

    fn exec(&mut self, id: u64, spec: &ExecSpec, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        let exec_id = self.new_id();
        let hostname = self.pod.hostname.clone();
        let container = self
            .containers
            .get(&spec.container)
            .ok_or_else(|| Failure(format!("container {} is not running", spec.container)))?;
        let (Some(identity), ContainerPhase::Running) =
            (&container.identity, container.record.phase)
        else {
            return Err(Failure(format!(
                "container {} is not running yet",
                spec.container
            )));
        };
        let mut fds = fds.into_iter();
        let mut stdio = Stdio::default();
        if !spec.tty {
            let wanted = [
                (spec.stdin, &mut stdio.stdin),
                (spec.stdout, &mut stdio.stdout),
                (spec.stderr, &mut stdio.stderr),
            ];
            for (_, stream) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
                *stream =
                    Some(fds.next().ok_or_else(|| {
                        Failure("a stream came without its descriptor".to_owned())
                    })?);
            }
        }
        let (ours, theirs) = passing::pair().during(|| "making sockets")?;
        passing::set_nonblocking(&ours).during(|| "making sockets")?;
        let env = sandbox::environment(&container.spec, identity, &hostname);
        sandbox::start_exec(Join {
            pause: self.pause.as_ref(),
            namespaces: &container.namespaces,
            container: &container.spec,
            identity,
            env: &env,
            exec: spec,
            stdio,
            cgroups: container
                .doors()
                .during(|| "opening the container's cgroup")?,
            report: theirs,
        })?;
        let run = ExecRun {
            container: spec.container.clone(),
            connection: Some(id),
            report: Some(ours),
            pid: None,
            terminal: None,
            tty: spec.tty,
            kill_on_disconnect: spec.kill_on_disconnect,
            failure: None,
            ended: None,
            is_announced: false,
        };
        self.execs.insert(exec_id, run);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.purpose = Purpose::Exec(exec_id);
        }
        Ok(())
    }

    fn attach(
        &mut self,
        id: u64,
        name: &str,
        wanted: [bool; 3],
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let [stdin, stdout, stderr] = wanted;
        let container = self.running(name)?;
        let tty = container.spec.tty;
        let input = match (stdin, &container.terminal, &container.stdin) {
            (true, Some(terminal), _) => Some(terminal),
            (true, None, Some(pipe)) => Some(pipe),
            _ => None,
        };
        let input = input
            .map(OwnedFd::try_clone)
            .transpose()
            .during(|| "sharing the container's stdin")?;
        let streams = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)];
        let streams = streams
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, stream)| stream);
        for (stream, fd) in streams.zip(fds) {
            // A terminal has one output; nothing ever comes on the other.
            if !(tty && stream == Stream::Stderr) {
                self.sinks
                    .push(Sink::new(name, stream, fd).during(|| "attaching a stream")?);
            }
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.answer(
                &Reply::Streaming { pid: None, tty },
                input.into_iter().collect(),
            );
            connection.purpose = Purpose::Attached(name.to_owned());
        }
        Ok(())
    }

    /// As many sockets as one message carries, made by a child that is inside of the pod's network namespace.
    fn sockets(&self) -> Result<Vec<OwnedFd>, Failure> {
        let pause = self.pause.as_ref().ok_or_else(|| {
            Failure("a pod without isolation has no network of its own".to_owned())
        })?;
        let (ours, theirs) = passing::pair().during(|| "making sockets")?;
        process::clone(0, || {
            let make = || {
                pause.enter_only(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
                let sockets = (0..passing::MAX_FDS).map(|_| passing::tcp_socket());
                sockets
                    .collect::<Result<Vec<OwnedFd>, _>>()
                    .during(|| "making sockets in the pod's network")
            };
            let (outcome, sockets) = match make() {
                Ok(sockets) => (Report::Started, sockets),
                Err(failure) => (Report::SetupFailed(failure.0), Vec::new()),
            };
            let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            let _ = report::send(theirs.as_fd(), &outcome, &fds);
            process::exit(0)
        })
        .during(|| "forking")?;
        drop(theirs);
        let message = report::receive(ours.as_fd()).during(|| "listening for the pod's sockets")?;
        match message.map(|message| (message.report, message.fds)) {
            Some((Report::SetupFailed(text), _)) => Err(Failure(text)),
            Some((_, sockets)) => Ok(sockets),
            None => Err(Failure("making sockets ended without a word".to_owned())),
        }
    }

    /// Runs the network's own set-up in a child that is inside of the pod's network namespace.
    fn configure_network(&self, link: &net::pod::PodLink) -> Result<(), Failure> {
        let pause = self.pause.as_ref().ok_or_else(|| {
            Failure("a pod without isolation has no network of its own".to_owned())
        })?;
        let (ours, theirs) = passing::pair().during(|| "making sockets")?;
        process::clone(0, || {
            let configure = || {
                pause.enter_only(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
                net::pod::configure(link).map_err(|error| Failure(objects::chain(&error)))
            };
            let outcome = match configure() {
                Ok(warnings) => {
                    warnings
                        .iter()
                        .for_each(|warning| eprintln!("{}", warning.0));
                    Report::Started
                }
                Err(failure) => Report::SetupFailed(failure.0),
            };
            let _ = report::send(theirs.as_fd(), &outcome, &[]);
            process::exit(0)
        })
        .during(|| "forking")?;
        drop(theirs);
        match report::receive(ours.as_fd()).during(|| "listening to the network's set-up")? {
            Some(message) => match message.report {
                Report::SetupFailed(text) => Err(Failure(text)),
                _ => Ok(()),
            },
            None => Err(Failure(
                "the network's set-up ended without a word".to_owned(),
            )),
        }
    }
}
