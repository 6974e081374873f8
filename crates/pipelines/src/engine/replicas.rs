//! Between replicas that share a database. One of them drives the runs; the others answer clients too: they hear what
//! changes and show it, and pass on what only the driver can do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use super::{Engine, Inbox, Message, RunChange};
use crate::store::notices::{Heard, Notice};
use crate::store::request::{self, Request, Verb};
use crate::store::{self, Store};

/// How long a request waits for a replica that drives: a change of hands takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the row is looked at, in case its notice was missed.
const LOOK: Duration = Duration::from_secs(1);

/// What this replica knows of the others.
#[derive(Clone)]
pub struct Replicas {
    store: Arc<Store>,
    engine: Engine,
    answered: broadcast::Sender<String>,
}

impl Replicas {
    /// Around the engine of this replica.
    pub fn new(store: Arc<Store>, engine: Engine) -> Self {
        Self {
            store,
            engine,
            answered: broadcast::channel(256).0,
        }
    }

    /// Takes in what other replicas do. Never ends where there are none.
    pub async fn hear(&self, mut heard: UnboundedReceiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Notice(Notice::Run(id)) => self.show(&id).await,
                Heard::Notice(Notice::Asked) => self.engine.send(Message::Asked),
                Heard::Notice(Notice::Answered(id)) => {
                    let _ = self.answered.send(id);
                }
                Heard::Gap => {
                    self.engine.send(Message::Look);
                    self.engine.missed();
                }
            }
        }
        std::future::pending().await
    }

    /// Shows those who watch here what a run is now, and lets this engine take it up, should it drive.
    async fn show(&self, run_id: &str) {
        let id = run_id.to_owned();
        let read = self
            .store
            .read(move |db| Ok((store::run::get(db, &id)?, store::task::of_run(db, &id)?)))
            .await;
        let (run, tasks) = match read {
            Ok((run, tasks)) => (Some(run), tasks),
            Err(store::Error::NotFound { .. }) => (None, Vec::new()),
            Err(problem) => {
                tracing::warn!(error = %objects::chain(&problem), "run {run_id} changed and cannot be read");
                return self.engine.missed();
            }
        };
        if run.as_ref().is_some_and(|run| !run.state.is_final()) {
            self.engine.send(Message::Submit(run_id.to_owned()));
        }
        self.engine.publish(RunChange {
            run_id: run_id.to_owned(),
            is_deleted: run.is_none(),
            run,
            tasks,
            removed: Vec::new(),
        });
    }

    /// Stands in for the engine while another replica drives: passes on what is asked. A run that was accepted here needs
    /// no passing on; its row told the driver. Cancelling loses nothing.
    pub async fn follow(&self, inbox: &mut Inbox) {
        while let Some(message) = inbox.0.recv().await {
            let (verb, run_id, reply) = match message {
                Message::Terminate(id, reply) => (Verb::Terminate, id, reply),
                Message::Retry(id, reply) => (Verb::Retry, id, reply),
                Message::Delete(id, reply) => (Verb::Delete, id, reply),
                Message::Submit(_) | Message::Report(_) | Message::Asked | Message::Look => {
                    continue;
                }
            };
            let replicas = self.clone();
            tokio::spawn(async move { replicas.pass_on(verb, run_id, reply).await });
        }
    }

    async fn pass_on(&self, verb: Verb, run_id: String, reply: oneshot::Sender<store::Result<()>>) {
        let request = Request {
            id: uuid::Uuid::new_v4().to_string(),
            run_id,
            verb,
        };
        let _ = reply.send(self.ask(request).await);
    }

    async fn ask(&self, request: Request) -> store::Result<()> {
        // Subscribed before asking, so that the answer is not missed.
        let mut answered = self.answered.subscribe();
        let (id, run_id) = (request.id.clone(), request.run_id.clone());
        self.store
            .write(move |tx| request::ask(tx, &request, Timestamp::now()))
            .await?;
        // It may be this replica's turn by now.
        self.engine.send(Message::Asked);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let key = id.clone();
            if self
                .store
                .read(move |db| request::is_answered(db, &key))
                .await?
            {
                break;
            }
            let mine = async { while answered.recv().await.is_ok_and(|other| other != id) {} };
            let _ = tokio::time::timeout(LOOK, mine).await;
        }
        let answer = self.store.write(move |tx| request::take(tx, &id)).await?;
        answer.map_or(Err(store::Error::NoDriver), |answer| answer.result(&run_id))
    }
}
