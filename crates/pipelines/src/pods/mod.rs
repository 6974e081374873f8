//! Steps as pods. The runner makes them, watches them, reads what the launcher left, keeps their logs, and lets them go
//! once the engine has recorded how they ended. It keeps no state that a restart would miss: everything it needs to judge
//! a pod stands in the pod's own labels and annotations.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifacts::Stores;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::engine::runner::{Act, Report, Runner, What};
use crate::engine::step::Step;
use crate::engine::{Outcome, Reports};

mod build;
mod claims;
mod door;
mod ended;
mod judge;
mod platform;
mod watch;

pub use build::build;
pub use door::Door;
pub use judge::{Verdict, judge};
pub use platform::apply as apply_platform;

/// Labels and annotations of a step's pod.
pub mod marks {
    /// Label: id of the run.
    pub const RUN: &str = "pipeline/runid";
    /// Label: every step's pod has it, as upstream's do.
    pub const COMPONENT: &str = "pipelines.kubeflow.org/v2_component";
    /// Label: id of the task.
    pub const TASK: &str = "pipelines.ferroflow.io/task-id";
    /// Label: number of the attempt.
    pub const ATTEMPT: &str = "pipelines.ferroflow.io/attempt";
    /// Annotation: URI of the launcher's report; absent where the image's own entry point runs.
    pub const REPORT: &str = "pipelines.ferroflow.io/report";
    /// Annotation: URI the log is kept under.
    pub const LOG: &str = "pipelines.ferroflow.io/log";
    /// Finalizer: the outcome is not recorded yet.
    pub const FINALIZER: &str = "pipelines.ferroflow.io/outcome";
}

/// How often letting a pod go is tried; the next start of the engine tries again.
const RELEASE_TRIES: u32 = 10;

/// How often writing what a step is to do is tried before the step fails.
const DESCRIBE_TRIES: u32 = 20;
/// How often a report is asked for where its store does not answer.
const REPORT_TRIES: u32 = 5;

/// Where and as whom steps run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Namespace of the pods.
    pub namespace: String,
    /// Our own image, which carries the launcher.
    pub image: String,
    /// Service account of steps that name none.
    pub service_account: String,
    /// Claim that holds the artifacts; steps mount it.
    pub artifacts_claim: String,
    /// The launcher's file on that claim's volume. Without it an init container of our own image brings the launcher.
    pub launcher: Option<String>,
    /// Where steps bring and take their artifacts, `http://ADDRESS:PORT`; none where they mount the claim.
    pub api: Option<String>,
}

/// Settings of the runner.
#[derive(Clone)]
pub struct Settings {
    /// The cluster.
    pub client: Client,
    /// Where and as whom steps run.
    pub target: Target,
    /// Storage class of claims that the engine makes for a run; the cluster's default when absent.
    pub storage_class: Option<String>,
    /// Size asked for a run's shared folders.
    pub shared_size: String,
    /// How long the pod of an ended step stays to be looked at.
    pub keep_pods: Duration,
    /// The way that artifacts take between steps and an object store; none where steps mount the artifact volume.
    pub door: Option<Door>,
}

/// Runs steps as pods.
#[derive(Clone)]
pub struct Pods(Arc<Inner>);

struct Inner {
    settings: Settings,
    stores: Stores,
    reports: Reports,
    /// Pods (by name) that were stopped, so that one still being made does not live on.
    stopped: Mutex<HashSet<String>>,
    /// Uids of pods whose end is being reported, or has been.
    reported: Mutex<HashSet<String>>,
    /// Uids of pods that are to be looked at again later: ended ones to be removed, deleted ones that do not end.
    later: Mutex<HashSet<String>>,
    /// Logs (by pod) that are being copied; their pods are not let go before.
    copies: Mutex<HashMap<String, tokio::task::JoinHandle<()>>>,
    /// Last message sent about a waiting pod, so that it is sent once.
    waiting: Mutex<HashMap<String, String>>,
}

impl Runner for Pods {
    fn act(&self, act: Act) {
        let pods = self.clone();
        match act {
            Act::Launch(step) => drop(tokio::spawn(async move { pods.launch(*step).await })),
            Act::Stop {
                run_id,
                task_id,
                attempt,
                pod,
            } => drop(tokio::spawn(async move {
                pods.stop(run_id, task_id, attempt, pod).await
            })),
            Act::Recorded { pod, .. } => {
                drop(tokio::spawn(async move { pods.release(&pod).await }))
            }
            Act::Deleted { run_id } => {
                drop(tokio::spawn(async move { pods.remove_all(&run_id).await }))
            }
            // Pods go by themselves, each a while after its own end.
            Act::Finished { .. } => {}
        }
    }
}

impl Pods {
    /// A runner that is not watching yet; [`Self::watch`] must run beside the engine.
    pub fn new(settings: Settings, stores: Stores, reports: Reports) -> Self {
        Self(Arc::new(Inner {
            settings,
            stores,
            reports,
            stopped: Mutex::default(),
            reported: Mutex::default(),
            later: Mutex::default(),
            copies: Mutex::default(),
            waiting: Mutex::default(),
        }))
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.0.settings.client.clone(),
            &self.0.settings.target.namespace,
        )
    }

    fn report(&self, step: &Step, what: What) {
        self.0.reports.send(Report {
            run_id: step.run_id.clone(),
            task_id: step.task_id.clone(),
            attempt: step.attempt,
            pod: step.pod_name.clone(),
            what,
        });
    }

    fn is_stopped(&self, pod: &str) -> bool {
        self.0
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(pod)
    }

    async fn launch(&self, step: Step) {
        if claims::is_claim_step(&step) {
            let outcome = claims::perform(&self.0.settings, &step).await;
            return self.report(&step, What::Ended(outcome));
        }
        if let Err(message) = self.try_launch(&step).await {
            tracing::warn!(task.id = %step.task_id, pod = %step.pod_name, "could not launch {}: {message}", step.display_name);
            self.report(
                &step,
                What::Ended(Outcome::Failed {
                    exit_code: None,
                    message,
                    log: None,
                }),
            );
        }
    }

    async fn try_launch(&self, step: &Step) -> Result<(), String> {
        tracing::debug!(pod = step.pod_name, "launching");
        // A report that is there already decides, even if its pod is long gone.
        if let Some(report) = ended::read_report(&self.0.stores, &step.report_uri()).await
            && self
                .api()
                .get_opt(&step.pod_name)
                .await
                .is_ok_and(|pod| pod.is_none())
        {
            self.report(step, What::Ended(ended::from_report(report, None, &[])));
            return Ok(());
        }
        let (target, given) = self.through_the_door(step).await?;
        let step = given.as_ref().unwrap_or(step);
        self.describe(step).await?;
        claims::ensure_for(&self.0.settings, step).await?;
        let pod = build(step, &target)?;
        let mut tries = 0;
        loop {
            if self.is_stopped(&step.pod_name) {
                return Err("stopped before it began".to_owned());
            }
            match self.api().create(&PostParams::default(), &pod).await {
                Ok(_) => {
                    tracing::debug!(pod = step.pod_name, "pod made");
                    break;
                }
                Err(kube::Error::Api(status))
                    if status.code == 409 && status.reason == "AlreadyExists" =>
                {
                    return self.adopt(step).await;
                }
                Err(kube::Error::Api(status))
                    if (400..500).contains(&status.code)
                        && status.code != 429
                        && status.code != 409 =>
                {
                    return Err(format!("its pod was refused: {}", status.message));
                }
                Err(problem) => {
                    // Nothing is wrong with the step, so it waits, and says for what.
                    tries += 1;
                    let message =
                        format!("waits for the Kubernetes API to take its pod: {problem}");
                    self.pause(step, tries, message).await;
                }
            }
        }
        if self.is_stopped(&step.pod_name) {
            let _ = self
                .api()
                .delete(&step.pod_name, &DeleteParams::default())
                .await;
        }
        Ok(())
    }

    /// Where artifacts go through the API: the target with its address, and the step with what to bring and take.
    async fn through_the_door(&self, step: &Step) -> Result<(Target, Option<Step>), String> {
        let settings = &self.0.settings;
        let mut target = settings.target.clone();
        let Some(door) = &settings.door else {
            return Ok((target, None));
        };
        target.api = Some(door.url(&settings.client, &target.namespace).await?);
        let mut step = step.clone();
        step.launcher.inputs = step.inputs();
        step.launcher
            .inputs
            .retain(|input| self.0.stores.holds(&input.uri));
        step.launcher.outputs = artifacts::uri::local_path(&step.attempt_folder);
        Ok((target, Some(step)))
    }

    /// Writes what the launcher is told. Nothing is wrong with the step while that is refused, so it waits a while.
    async fn describe(&self, step: &Step) -> Result<(), String> {
        let mut tries = 0;
        loop {
            let Err(problem) = ended::write_step(&self.0.stores, step).await else {
                return Ok(());
            };
            tries += 1;
            if tries == DESCRIBE_TRIES || self.is_stopped(&step.pod_name) {
                return Err(problem);
            }
            self.pause(step, tries, problem).await;
        }
    }

    /// Says what a step waits for, and waits: the longer, the more `tries` there were.
    async fn pause(&self, step: &Step, tries: u32, message: String) {
        tracing::warn!(pod = %step.pod_name, "{message}");
        self.report(step, What::Waiting { message });
        tokio::time::sleep(Duration::from_millis(100 << tries.min(6))).await;
    }

    /// A pod of that name exists: ours when it carries our labels, since its name follows from them.
    async fn adopt(&self, step: &Step) -> Result<(), String> {
        let pod = self
            .api()
            .get(&step.pod_name)
            .await
            .map_err(|problem| format!("its pod could not be read: {problem}"))?;
        let is_ours = pod.labels().get(marks::TASK) == Some(&step.task_id)
            && pod.labels().get(marks::ATTEMPT) == Some(&step.attempt.to_string());
        if is_ours {
            Ok(())
        } else {
            Err(format!(
                "a pod named {} exists that is not this step's",
                step.pod_name
            ))
        }
    }

    async fn stop(&self, run_id: String, task_id: String, attempt: u32, pod: String) {
        self.0
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pod.clone());
        if let Err(kube::Error::Api(status)) =
            self.api().delete(&pod, &DeleteParams::default()).await
            && status.code == 404
        {
            let outcome = Outcome::Failed {
                exit_code: None,
                message: "stopped before it began".to_owned(),
                log: None,
            };
            self.0.reports.send(Report {
                run_id,
                task_id,
                attempt,
                pod,
                what: What::Ended(outcome),
            });
        }
    }

    /// Lets a pod go: its outcome is stored.
    async fn release(&self, name: &str) {
        let copy = self
            .0
            .copies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        if let Some(copy) = copy {
            let _ = copy.await;
        }
        for _ in 0..RELEASE_TRIES {
            let pod = match self.api().get_opt(name).await {
                Ok(Some(pod)) => pod,
                Ok(None) => return,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let others: Vec<&String> = pod
                .finalizers()
                .iter()
                .filter(|finalizer| *finalizer != marks::FINALIZER)
                .collect();
            if others.len() == pod.finalizers().len() {
                return;
            }
            let patch = json!({"metadata": {"resourceVersion": pod.resource_version(), "finalizers": others}});
            match self
                .api()
                .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
            {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        tracing::warn!(pod = name, "could not release the pod {name}");
    }

    async fn remove_all(&self, run_id: &str) {
        let of_run = ListParams::default().labels(&format!("{}={run_id}", marks::RUN));
        let Ok(pods) = self.api().list(&of_run).await else {
            return;
        };
        for pod in pods {
            let name = pod.name_any();
            let _ = self.api().delete(&name, &DeleteParams::default()).await;
            self.release(&name).await;
        }
        claims::remove_all(&self.0.settings, run_id).await;
    }
}
