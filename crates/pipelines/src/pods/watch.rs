//! The one watch over all step pods, and what each change of one leads to.

use std::sync::PoisonError;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;

use super::judge::{Verdict, judge};
use super::{Pods, ended, marks};
use crate::engine::Outcome;
use crate::engine::runner::{Report, What};

/// How long a deleted pod may take to end before it is given up on.
const DELETION_PATIENCE: Duration = Duration::from_secs(60);

impl Pods {
    /// Watches until shutdown. Pods that ended while nobody watched are reported like any other.
    pub async fn watch(self, shutdown: CancellationToken) {
        let of_steps = watcher::Config::default().labels(&format!("{}=true", marks::COMPONENT));
        let mut events = Box::pin(watcher::watcher(self.api(), of_steps));
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => self.changed(pod),
                Some(Ok(Event::Delete(pod))) => self.gone(pod),
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(problem)) => {
                    tracing::warn!(
                        error = &problem as &dyn std::error::Error,
                        "the watch of step pods broke; trying again"
                    );
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                None => return,
            }
        }
    }

    fn changed(&self, pod: Pod) {
        let Some(about) = About::of(&pod) else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            self.give_up_later(&pod, &about);
        }
        match judge(&pod) {
            Verdict::Unknown => {}
            Verdict::Waiting(message) => {
                let is_new = {
                    let mut waiting = self
                        .0
                        .waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    waiting.insert(about.pod.clone(), message.clone()).as_ref() != Some(&message)
                };
                if is_new {
                    self.0.reports.send(about.report(What::Waiting { message }));
                }
            }
            Verdict::Running => {
                self.forget_waiting(&about.pod);
                self.0.reports.send(about.report(What::Started {
                    pod_uid: pod.uid().unwrap_or_default(),
                }));
            }
            Verdict::Ended {
                exit_code,
                cause,
                is_interrupted,
            } => self.ended(pod, about, exit_code, cause, is_interrupted),
        }
    }

    fn ended(
        &self,
        pod: Pod,
        about: About,
        exit_code: Option<i32>,
        cause: Option<String>,
        is_interrupted: bool,
    ) {
        self.forget_waiting(&about.pod);
        let is_ours_to_report = pod
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == marks::FINALIZER);
        if !is_ours_to_report {
            return self.remove_later(&pod, &about);
        }
        if !self
            .0
            .reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(about.uid.clone())
        {
            return;
        }
        tracing::debug!(pod = about.pod, "end seen");
        let pods = self.clone();
        tokio::spawn(async move {
            let outcome = pods
                .outcome(&pod, &about, exit_code, cause, is_interrupted)
                .await;
            pods.0.reports.send(about.report(What::Ended(outcome)));
        });
    }

    async fn outcome(
        &self,
        pod: &Pod,
        about: &About,
        exit_code: Option<i32>,
        cause: Option<String>,
        is_interrupted: bool,
    ) -> Outcome {
        let annotation = |name: &str| pod.annotations().get(name).cloned();
        // What follows a success need not wait for the log to be copied; the pod does, in `release`.
        if let (Some(0), Some(uri), Some(log)) =
            (exit_code, annotation(marks::REPORT), annotation(marks::LOG))
            && let Some(report) = ended::read_report(&self.0.stores, &uri).await
            && report.succeeded()
        {
            let (pods, name, target) = (self.clone(), about.pod.clone(), log.clone());
            let copy = tokio::spawn(async move {
                ended::keep_log(&pods.api(), &name, &pods.0.stores, &target).await;
            });
            self.0
                .copies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(about.pod.clone(), copy);
            return ended::from_report(report, Some(log), &[]);
        }
        let (log, tail) = match annotation(marks::LOG) {
            Some(uri) if exit_code.is_some() => {
                ended::keep_log(&self.api(), &about.pod, &self.0.stores, &uri).await
            }
            _ => (None, Vec::new()),
        };
        match annotation(marks::REPORT) {
            Some(uri) => {
                if let Some(mut report) = ended::read_report(&self.0.stores, &uri).await {
                    // What the cluster knows about a killed command is better than its bare exit code.
                    if !report.succeeded() && report.error.is_none() {
                        report.error = cause;
                    }
                    if is_interrupted && !report.succeeded() {
                        return Outcome::Interrupted {
                            message: report.error.unwrap_or_default(),
                        };
                    }
                    return ended::from_report(report, log, &tail);
                }
            }
            None if exit_code == Some(0) => {
                return Outcome::Succeeded {
                    report: Box::default(),
                    log,
                };
            }
            None => {}
        }
        if is_interrupted {
            return Outcome::Interrupted {
                message: cause.unwrap_or_default(),
            };
        }
        let cause = cause
            .or_else(|| (exit_code == Some(0)).then(|| "the launcher left no report".to_owned()));
        Outcome::Failed {
            exit_code,
            message: ended::failure(cause.as_deref(), exit_code, &tail),
            log,
        }
    }

    /// A pod is gone. Our finalizer should have kept it; if somebody took that off, what it left still decides.
    fn gone(&self, pod: Pod) {
        let Some(about) = About::of(&pod) else { return };
        self.forget_waiting(&about.pod);
        self.0
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&about.pod);
        self.0
            .later
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&about.uid);
        if self
            .0
            .reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&about.uid)
        {
            return;
        }
        let pods = self.clone();
        tokio::spawn(async move {
            let report = match pod.annotations().get(marks::REPORT) {
                Some(uri) => ended::read_report(&pods.0.stores, uri).await,
                None => None,
            };
            let outcome = match report {
                Some(report) => ended::from_report(report, None, &[]),
                None => Outcome::Failed {
                    exit_code: None,
                    message: "its pod was deleted".to_owned(),
                    log: None,
                },
            };
            pods.0.reports.send(about.report(What::Ended(outcome)));
        });
    }

    /// An ended pod whose outcome is recorded stays a while to be looked at.
    fn remove_later(&self, pod: &Pod, about: &About) {
        if pod.metadata.deletion_timestamp.is_some() || !self.is_new_for_later(&about.uid) {
            return;
        }
        let (pods, name, uid) = (self.clone(), about.pod.clone(), about.uid.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pods.0.settings.keep_pods).await;
            let this_one = Preconditions {
                uid: Some(uid),
                resource_version: None,
            };
            let _ = pods
                .api()
                .delete(
                    &name,
                    &DeleteParams {
                        preconditions: Some(this_one),
                        ..DeleteParams::default()
                    },
                )
                .await;
        });
    }

    /// A deleted pod that no node ends (its node is gone) must not hold its run for ever.
    fn give_up_later(&self, pod: &Pod, about: &About) {
        let is_held = pod
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == marks::FINALIZER);
        if !is_held || !self.is_new_for_later(&about.uid) {
            return;
        }
        let (pods, name, uid) = (self.clone(), about.pod.clone(), about.uid.clone());
        tokio::spawn(async move {
            tokio::time::sleep(DELETION_PATIENCE).await;
            let Ok(Some(pod)) = pods.api().get_opt(&name).await else {
                return;
            };
            if pod.uid().as_deref() == Some(uid.as_str())
                && let Some(about) = About::of(&pod)
            {
                pods.ended(
                    pod,
                    about,
                    None,
                    Some("its pod was deleted and did not end".to_owned()),
                    false,
                );
            }
        });
    }

    fn is_new_for_later(&self, uid: &str) -> bool {
        self.0
            .later
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned())
    }

    fn forget_waiting(&self, pod: &str) {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pod);
    }
}

/// Which attempt a pod stands for.
struct About {
    run_id: String,
    task_id: String,
    attempt: u32,
    pod: String,
    uid: String,
}

impl About {
    fn of(pod: &Pod) -> Option<Self> {
        let label = |name: &str| pod.labels().get(name).cloned();
        Some(Self {
            run_id: label(marks::RUN)?,
            task_id: label(marks::TASK)?,
            attempt: label(marks::ATTEMPT)?.parse().ok()?,
            pod: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
        })
    }

    fn report(&self, what: What) -> Report {
        Report {
            run_id: self.run_id.clone(),
            task_id: self.task_id.clone(),
            attempt: self.attempt,
            pod: self.pod.clone(),
            what,
        }
    }
}
