//! One run between its machine and the store: changes are stored before anything is done about them, questions about
//! earlier results are answered from the store, and what remains are commands for whoever runs steps.

use std::sync::Arc;

use artifacts::Stores;
use jiff::Timestamp;

use super::machine::{Changes, Effect, Machine};
use super::step::Step;
use crate::artifact::Artifact;
use crate::store::lease::{self, Lease};
use crate::store::{self, Store};
use crate::task::Task;

/// What a runner of steps is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Run a step; doing it twice must be harmless.
    Launch(Box<Step>),
    /// End a step.
    Stop {
        /// The task.
        task_id: String,
        /// The attempt.
        attempt: u32,
    },
    /// The run is final.
    Finished,
}

/// The store and the stores of artifacts, as every run uses them.
#[derive(Clone)]
pub struct Memory {
    /// Runs and what hangs on them.
    pub store: Arc<Store>,
    /// The right to write them.
    pub lease: Lease,
    /// Objects.
    pub stores: Stores,
}

impl Memory {
    /// Stores everything that changed and returns the commands that follow, together with the changes made.
    pub async fn settle(
        &self,
        machine: &mut Machine,
        now: impl Fn() -> Timestamp,
    ) -> store::Result<(Vec<Command>, Vec<Changes>)> {
        let mut commands = Vec::new();
        let mut made = Vec::new();
        loop {
            let changes = machine.take_changes();
            if !changes.is_empty() {
                let changes = Arc::new(changes);
                self.write(machine, Arc::clone(&changes), now()).await?;
                made.push(Arc::unwrap_or_clone(changes));
            }
            let effects = machine.take_effects();
            if effects.is_empty() {
                return Ok((commands, made));
            }
            for effect in effects {
                match effect {
                    Effect::FindCached {
                        task_id,
                        fingerprint,
                    } => {
                        let hit = self.find_cached(machine, fingerprint).await?;
                        machine.on_cache_answer(&task_id, hit.as_ref(), now());
                    }
                    Effect::FindImported { task_id, artifact } => {
                        let known = self.find_imported(machine, &artifact).await?;
                        machine.on_import_answer(&task_id, known.unwrap_or(*artifact), now());
                    }
                    Effect::Launch(step) => commands.push(Command::Launch(step)),
                    Effect::Stop { task_id, attempt } => {
                        commands.push(Command::Stop { task_id, attempt })
                    }
                    Effect::Finished => commands.push(Command::Finished),
                }
            }
        }
    }

    async fn write(
        &self,
        machine: &Machine,
        changes: Arc<Changes>,
        now: Timestamp,
    ) -> store::Result<()> {
        let lease = self.lease;
        let namespace = machine.run().namespace.clone();
        let pipeline = machine.pipeline().spec.pipeline_info.name.clone();
        self.store
            .write(move |tx| {
                lease::check(tx, lease)?;
                store::task::remove(tx, &changes.removed)?;
                store::task::put(tx, &changes.tasks)?;
                for link in &changes.links {
                    let run_id = changes
                        .tasks
                        .iter()
                        .find(|task| task.id == link.task_id)
                        .map(|task| task.run_id.as_str())
                        .unwrap_or_default();
                    store::artifact::put(tx, &namespace, &link.artifact)?;
                    store::artifact::link(
                        tx,
                        &link.artifact,
                        run_id,
                        &link.task_id,
                        link.kind,
                        &link.key,
                    )?;
                }
                for (fingerprint, task) in &changes.cached {
                    store::cache::put(tx, &namespace, &pipeline, fingerprint, task, now)?;
                }
                changes
                    .run
                    .as_ref()
                    .map_or(Ok(()), |run| store::run::update(tx, run))
            })
            .await
    }

    /// A reusable result whose objects are still there; one whose objects are gone is forgotten.
    async fn find_cached(
        &self,
        machine: &Machine,
        fingerprint: String,
    ) -> store::Result<Option<Task>> {
        let namespace = machine.run().namespace.clone();
        let pipeline = machine.pipeline().spec.pipeline_info.name.clone();
        let key = (namespace, pipeline, fingerprint);
        let asked = key.clone();
        let Some(task) = self
            .store
            .read(move |db| store::cache::find(db, &asked.0, &asked.1, &asked.2))
            .await?
        else {
            return Ok(None);
        };
        for artifact in task.outputs.artifacts.values().flatten() {
            if !self.is_there(artifact).await {
                tracing::info!(task.id = %task.id, artifact.uri = %artifact.uri, "a cached result is forgotten: its object is gone");
                self.store
                    .write(move |tx| store::cache::forget(tx, &key.0, &key.1, &key.2))
                    .await?;
                return Ok(None);
            }
        }
        Ok(Some(task))
    }

    async fn is_there(&self, artifact: &Artifact) -> bool {
        if artifact.size_bytes.is_none() {
            return true;
        }
        match self.stores.resolve(&artifact.uri) {
            Ok((store, key)) => store.exists(&key).await.unwrap_or(false),
            // Objects elsewhere cannot be looked at; they are taken on trust.
            Err(_) => true,
        }
    }

    async fn find_imported(
        &self,
        machine: &Machine,
        wanted: &Artifact,
    ) -> store::Result<Option<Artifact>> {
        let (namespace, uri) = (machine.run().namespace.clone(), wanted.uri.clone());
        let known = self
            .store
            .read(move |db| store::artifact::by_uri(db, &namespace, &uri))
            .await?;
        Ok(known
            .into_iter()
            .find(|artifact| artifact.kind == wanted.kind && artifact.metadata == wanted.metadata))
    }
}
