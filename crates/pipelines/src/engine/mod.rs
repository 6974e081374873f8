//! The run engine: one machine per run that is not final, and one task that feeds them all.
//!
//! Everything that happens reaches that task as a [`Message`]; it lets the machine decide, stores the changes, tells the
//! listeners, and only then has the [`Runner`] act. It polls nothing: it sleeps until a message or the next deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::ir::Pipeline;
use crate::run::Run;
use crate::store::request::{self, Answer, Verb};
use crate::store::{self, Store};
use crate::task::Task;

pub mod driver;
pub mod machine;
pub mod replicas;
pub mod runner;
pub mod step;

pub use driver::{Command, Memory};
pub use machine::{Machine, Outcome, Policy};
pub use runner::{Act, Report, Runner, What};

/// How many changes a slow listener may be behind before it has to read everything anew.
const LISTENER_BACKLOG: usize = 4096;

/// What changed about a run, for those who watch.
#[derive(Clone, Debug)]
pub struct RunChange {
    /// The run.
    pub run_id: String,
    /// Its row, when that changed or the run is new.
    pub run: Option<Run>,
    /// Its tasks that changed.
    pub tasks: Vec<Task>,
    /// Tasks that are no more.
    pub removed: Vec<String>,
    /// The run itself is no more.
    pub is_deleted: bool,
}

enum Message {
    Submit(String),
    Terminate(String, oneshot::Sender<store::Result<()>>),
    Retry(String, oneshot::Sender<store::Result<()>>),
    Delete(String, oneshot::Sender<store::Result<()>>),
    Report(Report),
    /// Another replica asks for something.
    Asked,
    /// Anything may have been stored by others.
    Look,
}

/// The way to the engine.
#[derive(Clone)]
pub struct Engine {
    messages: mpsc::UnboundedSender<Message>,
    changes: broadcast::Sender<Arc<RunChange>>,
    /// How often changes may have been missed.
    gaps: watch::Sender<u64>,
}

/// The way back from a runner.
#[derive(Clone)]
pub struct Reports(mpsc::UnboundedSender<Message>);

impl Reports {
    /// Tells the engine something about an attempt; after the engine's end nobody listens.
    pub fn send(&self, report: Report) {
        let _ = self.0.send(Message::Report(report));
    }
}

/// The engine's own end of its messages, between [`channel`] and [`run`].
pub struct Inbox(mpsc::UnboundedReceiver<Message>);

/// The engine's address, which a runner needs before the engine can start.
pub fn channel() -> (Engine, Reports, Inbox) {
    let (messages, inbox) = mpsc::unbounded_channel();
    let (changes, _) = broadcast::channel(LISTENER_BACKLOG);
    (
        Engine {
            messages: messages.clone(),
            changes,
            gaps: watch::Sender::new(0),
        },
        Reports(messages),
        Inbox(inbox),
    )
}

impl Engine {
    /// Takes up a stored run.
    pub fn submit(&self, run: &Run) {
        self.publish(RunChange {
            run_id: run.id.clone(),
            run: Some(run.clone()),
            tasks: vec![],
            removed: vec![],
            is_deleted: false,
        });
        let _ = self.messages.send(Message::Submit(run.id.clone()));
    }

    /// Stops a run that has not ended.
    pub async fn terminate(&self, run_id: &str) -> store::Result<()> {
        self.ask(|reply| Message::Terminate(run_id.to_owned(), reply))
            .await
    }

    /// Takes a failed run up again.
    pub async fn retry(&self, run_id: &str) -> store::Result<()> {
        self.ask(|reply| Message::Retry(run_id.to_owned(), reply))
            .await
    }

    /// Removes a run, ending its steps.
    pub async fn delete(&self, run_id: &str) -> store::Result<()> {
        self.ask(|reply| Message::Delete(run_id.to_owned(), reply))
            .await
    }

    /// Everything that changes from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<RunChange>> {
        self.changes.subscribe()
    }

    /// Tells those who watch about a change that the engine itself did not make (archived, renamed).
    pub fn publish(&self, change: RunChange) {
        let _ = self.changes.send(Arc::new(change));
    }

    /// Changes each time that something may have changed without being told by [`Engine::watch`].
    pub fn gaps(&self) -> watch::Receiver<u64> {
        self.gaps.subscribe()
    }

    fn missed(&self) {
        self.gaps.send_modify(|gaps| *gaps += 1);
    }

    fn send(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<store::Result<()>>) -> Message,
    ) -> store::Result<()> {
        let (reply, answer) = oneshot::channel();
        let stopped = || {
            store::Error::Precondition(
                "the run engine has stopped; try again when it is back".to_owned(),
            )
        };
        self.messages.send(message(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Drives every run until shutdown; resumes those that a previous engine left behind. An error means that this engine must
/// not go on: the database failed, or another engine has taken over.
pub async fn run(
    engine: Engine,
    inbox: &mut Inbox,
    memory: Memory,
    policy: Policy,
    runner: Arc<dyn Runner>,
    shutdown: CancellationToken,
) -> store::Result<()> {
    let mut work = Work {
        engine,
        memory,
        policy,
        runner,
        machines: HashMap::new(),
        wakes: HashMap::new(),
        pipelines: HashMap::new(),
    };
    let active = work.memory.store.read(store::run::active).await?;
    if !active.is_empty() {
        tracing::info!(runs = active.len(), "resuming runs");
    }
    for run_id in active {
        work.take_up(&run_id).await?;
    }
    work.answer_requests().await?;
    loop {
        let wake = work.wakes.values().min().copied();
        let sleep = wake
            .map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            message = inbox.0.recv() => match message {
                Some(message) => work.handle(message).await?,
                None => return Ok(()),
            },
            () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => work.tick().await?,
        }
    }
}

struct Work {
    engine: Engine,
    memory: Memory,
    policy: Policy,
    runner: Arc<dyn Runner>,
    machines: HashMap<String, Machine>,
    wakes: HashMap<String, Timestamp>,
    /// Compiled documents in use, by content.
    pipelines: HashMap<String, std::sync::Weak<Pipeline>>,
}

impl Work {
    async fn handle(&mut self, message: Message) -> store::Result<()> {
        match message {
            Message::Submit(run_id) => self.take_up(&run_id).await,
            Message::Report(report) => self.hear(report).await,
            Message::Asked => self.answer_requests().await,
            Message::Look => {
                let active = self.memory.store.read(store::run::active).await?;
                for run_id in active {
                    self.take_up(&run_id).await?;
                }
                self.answer_requests().await
            }
            Message::Terminate(run_id, reply) => {
                let answer = self.terminate(&run_id).await;
                reply_or_fail(reply, answer)
            }
            Message::Retry(run_id, reply) => {
                let answer = self.retry(&run_id).await;
                reply_or_fail(reply, answer)
            }
            Message::Delete(run_id, reply) => {
                let answer = self.delete(&run_id).await;
                reply_or_fail(reply, answer)
            }
        }
    }

    /// Does what other replicas ask, in their order.
    async fn answer_requests(&mut self) -> store::Result<()> {
        let open = self.memory.store.read(request::open).await?;
        for request in open {
            let run_id = &request.run_id;
            let done = match request.verb {
                Verb::Terminate => self.terminate(run_id).await,
                Verb::Retry => self.retry(run_id).await,
                Verb::Delete => self.delete(run_id).await,
            };
            let answer = match done {
                Ok(()) => Answer::Done,
                Err(problem) if problem.is_fatal() => return Err(problem),
                Err(refusal) => Answer::refusal(&refusal),
            };
            self.answer(request.id, answer).await?;
        }
        Ok(())
    }

    async fn answer(&self, id: String, answer: Answer) -> store::Result<()> {
        let lease = self.memory.lease;
        self.memory
            .store
            .write(move |tx| {
                store::lease::check(tx, lease)?;
                request::answer(tx, &id, &answer, Timestamp::now())
            })
            .await
    }

    async fn take_up(&mut self, run_id: &str) -> store::Result<()> {
        if self.machines.contains_key(run_id) {
            return Ok(());
        }
        match self.load(run_id).await {
            Ok(mut machine) => {
                machine.start(Timestamp::now());
                self.machines.insert(run_id.to_owned(), machine);
                self.settle(run_id).await
            }
            Err(store::Error::NotFound { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn load(&mut self, run_id: &str) -> store::Result<Machine> {
        let id = run_id.to_owned();
        let (run, tasks) = self
            .memory
            .store
            .read(move |db| Ok((store::run::get(db, &id)?, store::task::of_run(db, &id)?)))
            .await?;
        let pipeline = self.pipeline(&run.spec_hash).await?;
        Ok(Machine::new(run, pipeline, tasks, self.policy.clone()))
    }

    async fn pipeline(&mut self, hash: &str) -> store::Result<Arc<Pipeline>> {
        if let Some(known) = self.pipelines.get(hash).and_then(std::sync::Weak::upgrade) {
            return Ok(known);
        }
        let key = hash.to_owned();
        let document = self
            .memory
            .store
            .read(move |db| store::spec::get(db, &key))
            .await?;
        let pipeline = Arc::new(Pipeline::from_document(document).map_err(|problem| {
            store::Error::Precondition(format!("a stored pipeline is not valid: {problem}"))
        })?);
        self.pipelines.retain(|_, known| known.strong_count() > 0);
        self.pipelines
            .insert(hash.to_owned(), Arc::downgrade(&pipeline));
        Ok(pipeline)
    }

    async fn hear(&mut self, report: Report) -> store::Result<()> {
        let now = Timestamp::now();
        let recorded = matches!(report.what, What::Ended(_)).then(|| Act::Recorded {
            run_id: report.run_id.clone(),
            task_id: report.task_id.clone(),
            attempt: report.attempt,
            pod: report.pod.clone(),
        });
        if let Some(machine) = self.machines.get_mut(&report.run_id) {
            match &report.what {
                What::Started { pod_uid } => {
                    machine.on_started(&report.task_id, report.attempt, pod_uid, now)
                }
                What::Waiting { message } => {
                    machine.on_waiting(&report.task_id, report.attempt, message)
                }
                What::Ended(outcome) => {
                    machine.on_ended(&report.task_id, report.attempt, outcome, now)
                }
            }
            self.settle(&report.run_id).await?;
        }
        if recorded.is_some() {
            tracing::debug!(pod = report.pod, "recorded");
        }
        // Only now that the outcome is stored (or belongs to nobody any more) may the pod go.
        recorded.into_iter().for_each(|act| self.runner.act(act));
        Ok(())
    }

    async fn terminate(&mut self, run_id: &str) -> store::Result<()> {
        let Some(machine) = self.machines.get_mut(run_id) else {
            let id = run_id.to_owned();
            let run = self
                .memory
                .store
                .read(move |db| store::run::get(db, &id))
                .await?;
            return Err(store::Error::Precondition(format!(
                "run {run_id} has ended ({}) and cannot be terminated",
                run.state.as_str()
            )));
        };
        if machine.run().state == crate::run::RunState::Canceling {
            return Err(store::Error::Precondition(format!(
                "run {run_id} is being terminated already"
            )));
        }
        machine.terminate(Timestamp::now());
        self.settle(run_id).await
    }

    async fn retry(&mut self, run_id: &str) -> store::Result<()> {
        if let Some(machine) = self.machines.get(run_id) {
            return Err(store::Error::Precondition(format!(
                "run {run_id} has not ended ({}): only a failed run can be retried",
                machine.run().state.as_str()
            )));
        }
        let mut machine = self.load(run_id).await?;
        if machine.run().state != crate::run::RunState::Failed {
            return Err(store::Error::Precondition(format!(
                "run {run_id} ended as {}: only a failed run can be retried",
                machine.run().state.as_str()
            )));
        }
        machine.rerun(Timestamp::now());
        self.machines.insert(run_id.to_owned(), machine);
        self.settle(run_id).await
    }

    async fn delete(&mut self, run_id: &str) -> store::Result<()> {
        let id = run_id.to_owned();
        let lease = self.memory.lease;
        self.memory
            .store
            .write(move |tx| {
                store::lease::check(tx, lease)?;
                store::run::delete(tx, &id)
            })
            .await?;
        self.machines.remove(run_id);
        self.wakes.remove(run_id);
        self.runner.act(Act::Deleted {
            run_id: run_id.to_owned(),
        });
        self.engine.publish(RunChange {
            run_id: run_id.to_owned(),
            run: None,
            tasks: vec![],
            removed: vec![],
            is_deleted: true,
        });
        Ok(())
    }

    async fn tick(&mut self) -> store::Result<()> {
        let now = Timestamp::now();
        let due: Vec<String> = self
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for run_id in due {
            if let Some(machine) = self.machines.get_mut(&run_id) {
                machine.on_tick(now);
            }
            self.settle(&run_id).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, run_id: &str) -> store::Result<()> {
        let Some(machine) = self.machines.get_mut(run_id) else {
            self.wakes.remove(run_id);
            return Ok(());
        };
        let (commands, changes) = self.memory.settle(machine, Timestamp::now).await?;
        for change in changes {
            self.engine.publish(RunChange {
                run_id: run_id.to_owned(),
                run: change.run,
                tasks: change.tasks,
                removed: change.removed,
                is_deleted: false,
            });
        }
        match machine.next_wake() {
            Some(at) => self.wakes.insert(run_id.to_owned(), at),
            None => self.wakes.remove(run_id),
        };
        for command in commands {
            match command {
                Command::Launch(step) => self.runner.act(Act::Launch(step)),
                Command::Stop { task_id, attempt } => {
                    let pod = machine
                        .task(&task_id)
                        .and_then(Task::current_attempt)
                        .map(|current| current.pod.clone())
                        .unwrap_or_default();
                    self.runner.act(Act::Stop {
                        run_id: run_id.to_owned(),
                        task_id,
                        attempt,
                        pod,
                    });
                }
                Command::Finished => {
                    let run = machine.run().clone();
                    tracing::info!(run.id = %run.id, run.name = %run.display_name, run.state = run.state.as_str(), "run {} ended", run.id);
                    self.runner.act(Act::Finished { run: Box::new(run) });
                }
            }
        }
        if machine.run().state.is_final() {
            self.machines.remove(run_id);
            self.wakes.remove(run_id);
        }
        Ok(())
    }
}

/// Errors of the request go to whoever asked; errors of the engine end it.
fn reply_or_fail(
    reply: oneshot::Sender<store::Result<()>>,
    answer: store::Result<()>,
) -> store::Result<()> {
    match answer {
        Err(problem) if problem.is_fatal() => {
            let _ = reply.send(Err(store::Error::Precondition(
                "the run engine failed".to_owned(),
            )));
            Err(problem)
        }
        answer => {
            let _ = reply.send(answer);
            Ok(())
        }
    }
}

/// Takes the lease over from whoever had it.
pub async fn take_lease(store: &Arc<Store>, holder: &str) -> store::Result<store::lease::Lease> {
    let holder = holder.to_owned();
    store.write(move |tx| store::lease::take(tx, &holder)).await
}
