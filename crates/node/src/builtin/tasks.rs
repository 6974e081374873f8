//! Runs the containers of a built-in pod as tasks and tells how each ended, in the words the shim uses for processes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use objects::chain;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::logging::{LogSink, scoped};
use super::{PodContext, Table};
use crate::shim::{ContainerPhase, ContainerRecord};

/// The running tasks of one pod.
#[derive(Debug, Clone)]
pub struct Tasks {
    running: Arc<Group>,
    changes: mpsc::UnboundedSender<ContainerRecord>,
}

/// Ends its tasks when nobody is left who could.
#[derive(Debug, Default)]
struct Group(Mutex<HashMap<String, Running>>);

impl Drop for Group {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in running.values() {
            task.shutdown.cancel();
            task.abort.abort();
        }
    }
}

#[derive(Debug)]
struct Running {
    shutdown: CancellationToken,
    abort: AbortHandle,
    ended: CancellationToken,
}

/// One container to run as a task.
pub struct TaskSpec {
    /// Which start this is.
    pub attempt: u32,
    /// The whole command line.
    pub command: Vec<String>,
    /// Where its log goes.
    pub log: PathBuf,
    /// What the component gets to know; `args` and `shutdown` are filled in here.
    pub context: PodContext,
}

impl Tasks {
    /// No tasks yet; what happens to them is sent to `changes`.
    pub fn new(changes: mpsc::UnboundedSender<ContainerRecord>) -> Self {
        Self {
            running: Arc::default(),
            changes,
        }
    }

    /// Starts a component. A command that names none ends at once with `StartError`.
    pub fn start(&self, table: &Table, spec: TaskSpec) {
        let name = spec.context.container.clone();
        let mut record = ContainerRecord {
            name: name.clone(),
            attempt: spec.attempt,
            phase: ContainerPhase::Running,
            pid: None,
            started_at: Some(Timestamp::now()),
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            reason: None,
            message: None,
        };
        let refuse = |mut record: ContainerRecord, message: String| {
            record.phase = ContainerPhase::Exited;
            record.finished_at = Some(Timestamp::now());
            record.exit_code = Some(128);
            record.reason = Some("StartError".into());
            record.message = Some(message);
            let _ = self.changes.send(record);
        };
        let Some((component, args)) = table.find(&spec.command) else {
            let known: Vec<&str> = table.subcommands().collect();
            let message = format!(
                "no component is called {:?}; there are: {}",
                spec.command.join(" "),
                known.join(", ")
            );
            return refuse(record, message);
        };
        let sink = match LogSink::open(&spec.log) {
            Ok(sink) => Arc::new(sink),
            Err(error) => return refuse(record, format!("opening its log: {error}")),
        };
        let shutdown = CancellationToken::new();
        let ended = CancellationToken::new();
        let context = PodContext {
            args,
            shutdown: shutdown.clone(),
            ..spec.context
        };
        let _ = self.changes.send(record.clone());
        let work = tokio::spawn(scoped(sink.clone(), component(context)));
        let running = Running {
            shutdown,
            abort: work.abort_handle(),
            ended: ended.clone(),
        };
        self.lock().insert(name.clone(), running);
        let (all, changes) = (Arc::downgrade(&self.running), self.changes.clone());
        tokio::spawn(async move {
            let (exit_code, reason, message) = match work.await {
                Ok(Ok(())) => (0, "Completed", None),
                Ok(Err(error)) => (1, "Error", Some(chain(error.as_ref()))),
                Err(error) if error.is_panic() => (
                    101,
                    "Error",
                    Some(format!("panicked: {}", panic_text(error.into_panic()))),
                ),
                Err(_) => (137, "Error", None),
            };
            if let Some(message) = &message {
                sink.line(&format!("ERROR {message}"));
            }
            record.phase = ContainerPhase::Exited;
            record.finished_at = Some(Timestamp::now());
            record.exit_code = Some(exit_code);
            record.reason = Some(reason.into());
            record.message = message;
            if let Some(all) = all.upgrade() {
                let mut running = all.0.lock().unwrap_or_else(PoisonError::into_inner);
                running.remove(&name);
            }
            let _ = changes.send(record);
            ended.cancel();
        });
    }

    /// Asks a task to end; after `grace` it is dropped where it stands.
    pub async fn stop(&self, container: &str, grace: Duration) {
        let (abort, ended) = match self.lock().get(container) {
            Some(running) => {
                running.shutdown.cancel();
                (running.abort.clone(), running.ended.clone())
            }
            None => return,
        };
        if tokio::time::timeout(grace, ended.cancelled())
            .await
            .is_err()
        {
            abort.abort();
            ended.cancelled().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or_else(|| "no message".to_owned(), |text| (*text).to_owned()),
    }
}
