//! What a pod's containers run in: a shim with namespaces and an address, or, for our own components, tasks of this
//! process with an address. Made when the first container is to start, taken down when the last one has ended.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use objects::chain;
use tokio::sync::mpsc;

use super::{Message, Worker};
use crate::builtin::Tasks;
use crate::env::hostname;
use crate::kubelet::events::Kind as EventKind;
use crate::kubelet::record::{PodRecord, State, app_containers, init_containers, seconds_after};
use crate::kubelet::spec;
use crate::shim::{self, Adopted, ContainerPhase, NodeNamespaces, PodSpec};
use crate::volumes::{self, Mounted};

/// Where a pod's containers run.
#[derive(Debug, Clone)]
pub(super) enum Sandbox {
    /// Processes under a shim.
    Processes(shim::Pod),
    /// Tasks of this process.
    Tasks(Tasks),
}

/// Longest wait between tries of setting a pod up.
const LONGEST_WAIT_S: i64 = 30;
/// A shim whose connection broke is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Worker {
    /// Finds what an earlier server left of the pod: its record, and its shim if that lives.
    pub(super) async fn find_again(&mut self) {
        let uid = self.uid();
        let phase = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.phase.clone())
            .unwrap_or_default();
        let Some(record) = self.folder.read(&uid) else {
            // Over, and its folder is gone: the API knows more about it than this node.
            if matches!(phase.as_str(), "Succeeded" | "Failed") {
                self.is_torn_down = true;
                self.published = Some(serde_json::Value::Null);
            }
            return;
        };
        self.record = record;
        self.record
            .containers
            .values_mut()
            .for_each(|own| own.is_stopping = false);
        if matches!(phase.as_str(), "Succeeded" | "Failed") && !self.record.has_sandbox {
            self.is_torn_down = true;
            return;
        }
        let found = if self.record.has_sandbox && !self.ctx.is_built_in(&self.pod) {
            shim::adopt(&self.folder.shim()).unwrap_or(Adopted::Dead(Vec::new()))
        } else {
            Adopted::Dead(Vec::new())
        };
        match found {
            Adopted::Alive(pod) => {
                let started_before: Vec<String> = self.record.containers.keys().cloned().collect();
                self.sandbox = Some(Sandbox::Processes(pod.clone()));
                self.forget_lost_starts();
                if let (Some(network), Some(IpAddr::V4(ip))) =
                    (&self.ctx.network, self.record.pod_ip)
                {
                    let _ = network.reserve(ip);
                    self.ctx
                        .services
                        .add_pod(ip, &self.pod.namespace().unwrap_or_default());
                }
                self.refresh_volumes(Timestamp::now()).await;
                self.follow(&pod);
                for name in started_before {
                    self.resume(&name);
                }
            }
            Adopted::Dead(records) => {
                self.without_sandbox(records, self.ctx.is_built_in(&self.pod))
                    .await
            }
        }
    }

    /// A start that the last server did not get as far as the shim is made again.
    fn forget_lost_starts(&mut self) {
        let begun = shim::records(&self.folder.shim()).unwrap_or_default();
        for (name, own) in &mut self.record.containers {
            let is_known = begun
                .iter()
                .any(|record| record.name == *name && record.attempt == own.restarts);
            if matches!(own.state, State::Starting) && !is_known {
                own.state = State::waiting("ContainerCreating", "");
            }
        }
    }

    /// Takes a running container up where the last server left it.
    fn resume(&mut self, name: &str) {
        let own = self.record.container(name);
        if !matches!(own.state, State::Running { .. }) {
            return;
        }
        let id = crate::kubelet::record::run_id(&self.uid(), name, own.restarts);
        if let Some(gpus) = super::start::gpus_of(&self.folder.run(name, own.restarts)) {
            self.ctx.gpus.reserve(&id, &gpus);
        }
        if own.is_started {
            self.is_started_now(name, own.restarts);
        } else {
            self.begin_probes(name, own.restarts);
        }
    }

    /// Notes that nothing of the pod runs any more. `by_node`: it ended with the server, which is no crash.
    async fn without_sandbox(&mut self, records: Vec<shim::ContainerRecord>, by_node: bool) {
        self.sandbox = None;
        self.release_address().await;
        for record in records {
            self.changed(record).await;
        }
        let names: Vec<String> = init_containers(&self.pod)
            .iter()
            .chain(app_containers(&self.pod))
            .map(|c| c.name.clone())
            .collect();
        for name in names {
            let own = self.record.container_mut(&name);
            match &own.state {
                State::Starting => own.state = State::waiting("ContainerCreating", ""),
                State::Running { started_at, .. } => {
                    let lost = shim::ContainerRecord {
                        name: name.clone(),
                        attempt: own.restarts,
                        phase: ContainerPhase::Exited,
                        pid: None,
                        started_at: Some(*started_at),
                        finished_at: Some(Timestamp::now()),
                        exit_code: Some(if by_node { 0 } else { 137 }),
                        signal: None,
                        oom_killed: false,
                        reason: Some(
                            if by_node {
                                "Completed"
                            } else {
                                "ContainerStatusUnknown"
                            }
                            .into(),
                        ),
                        message: (!by_node).then(|| {
                            "The container could not be located when the node looked for it".into()
                        }),
                    };
                    self.changed(lost).await;
                    if by_node {
                        self.record.container_mut(&name).backoff = Default::default();
                    }
                }
                State::Waiting { .. } | State::Finished(_) => {}
            }
        }
    }

    /// Makes everything that containers need in common. False when it failed and will be tried again.
    pub(super) async fn set_up(&mut self, now: Timestamp) -> bool {
        if let Some((at, _)) = self.set_up_after
            && at > now
        {
            self.wake(at);
            return false;
        }
        match self.try_set_up().await {
            Ok(()) => {
                self.set_up_after = None;
                true
            }
            Err((reason, message)) => {
                self.event(EventKind::Warning, reason, message);
                let tries = self.set_up_after.map_or(0, |(_, tries)| tries) + 1;
                let until = seconds_after(now, (1i64 << tries.min(5)).min(LONGEST_WAIT_S));
                self.set_up_after = Some((until, tries));
                self.wake(until);
                false
            }
        }
    }

    async fn try_set_up(&mut self) -> Result<(), (&'static str, String)> {
        const SANDBOX: &str = "FailedCreatePodSandBox";
        let sandbox_failed = |error: &dyn std::error::Error| {
            (
                SANDBOX,
                format!("Failed to create pod sandbox: {}", chain(error)),
            )
        };
        self.folder.make().map_err(|error| sandbox_failed(&error))?;
        let ip = self
            .address()
            .map_err(|error| (SANDBOX, format!("Failed to create pod sandbox: {error}")))?;
        self.record.pod_ip = Some(ip.into());
        let is_built_in = self.ctx.is_built_in(&self.pod);
        let mut mounted = std::mem::take(&mut self.mounted);
        // What is asked of the API and what is asked of the kernel do not wait for each other. A try after a failure asks
        // the API first: a volume that cannot be made should not cost a shim each time.
        let (made, shim) = if is_built_in || self.set_up_after.is_some() {
            (self.make_volumes(ip, &mut mounted).await, None)
        } else {
            let volumes = self.make_volumes(ip, &mut mounted);
            let (made, shim) = tokio::join!(volumes, self.start_shim(ip));
            (made, Some(shim))
        };
        self.mounted = mounted;
        if let Err(error) = made {
            if let Some(Ok(pod)) = shim {
                let _ = pod.shutdown().await;
                if let Some(network) = &self.ctx.network {
                    let _ = network.detach_pod(ip).await;
                }
            }
            return Err(("FailedMount", chain(&error)));
        }
        let sandbox = if is_built_in {
            if let Some(network) = &self.ctx.network {
                network
                    .add_builtin(ip)
                    .await
                    .map_err(|error| sandbox_failed(&error))?;
            }
            let (changes, mut seen) = mpsc::unbounded_channel();
            let messages = self.messages.clone();
            tokio::spawn(async move {
                while let Some(record) = seen.recv().await {
                    if messages.send(Message::Changed(record)).is_err() {
                        return;
                    }
                }
            });
            Sandbox::Tasks(Tasks::new(changes))
        } else {
            let shim = match shim {
                Some(shim) => shim,
                None => self.start_shim(ip).await,
            };
            let pod =
                shim.map_err(|error| (SANDBOX, format!("Failed to create pod sandbox: {error}")))?;
            self.follow(&pod);
            Sandbox::Processes(pod)
        };
        self.sandbox = Some(sandbox);
        self.record.has_sandbox = true;
        self.ctx
            .services
            .add_pod(ip, &self.pod.namespace().unwrap_or_default());
        Ok(())
    }

    fn address(&self) -> Result<Ipv4Addr, String> {
        match (&self.ctx.network, self.record.pod_ip) {
            (None, _) => Ok(Ipv4Addr::LOCALHOST),
            // A try before this one took an address already.
            (Some(_), Some(IpAddr::V4(ip)))
                if !self.record.has_sandbox && self.set_up_after.is_some() =>
            {
                Ok(ip)
            }
            (Some(network), _) => network.allocate().map_err(|error| chain(&error)),
        }
    }

    async fn make_volumes(
        &self,
        ip: Ipv4Addr,
        mounted: &mut Mounted,
    ) -> Result<(), volumes::Error> {
        let (volumes, folder) = (&self.ctx.volumes, self.folder.volumes());
        let node = &self.ctx.node;
        volumes
            .make(&self.pod, &folder, Some(ip.into()), node, mounted)
            .await?;
        tracing::debug!(pod = self.pod.name_any(), "volumes made");
        Ok(())
    }

    async fn start_shim(&self, ip: Ipv4Addr) -> Result<shim::Pod, String> {
        let ctx = &self.ctx;
        let layout = ctx.layout();
        let spec = self.pod.spec.as_ref();
        let sysctls = spec
            .and_then(|spec| spec.security_context.as_ref())
            .and_then(|context| context.sysctls.as_ref())
            .map(|list| {
                list.iter()
                    .map(|entry| (entry.name.clone(), entry.value.clone()))
                    .collect()
            })
            .unwrap_or_default();
        let wanted = PodSpec {
            uid: self.uid(),
            namespace: self.pod.namespace().unwrap_or_default(),
            name: self.pod.name_any(),
            dir: self.folder.shim(),
            hostname: hostname(&self.pod),
            isolation: ctx.isolation,
            node: ctx.network.as_ref().map(|network| {
                let (user, net) = network.holder().namespace_paths();
                NodeNamespaces { user, net }
            }),
            share_process_namespace: spec.and_then(|spec| spec.share_process_namespace)
                == Some(true),
            shm_size_bytes: 64 << 20,
            memory_volumes: volumes::memory_volumes(&self.pod, &self.folder.volumes()),
            hosts_file: spec::hosts_file(&self.pod, Some(ip.into()), &ctx.domain),
            resolv_conf: spec::resolv_conf(&self.pod, &layout, &ctx.domain),
            sysctls,
            host_ids: ctx
                .network
                .as_ref()
                .map_or_else(shim::HostIds::default, |network| {
                    let uids = network.holder().namespaces().ids.uids;
                    shim::HostIds {
                        first: uids.outside,
                        count: uids.count,
                    }
                }),
        };
        let pod = shim::start(&ctx.exe, &wanted)
            .await
            .map_err(|error| chain(&error))?;
        tracing::debug!(pod = self.pod.name_any(), "namespaces made");
        let connected = async {
            let (Some(network), Some(pid)) = (&ctx.network, pod.namespace_pid()) else {
                return Ok(());
            };
            let pid = u32::try_from(pid).map_err(|error| chain(&error))?;
            network
                .attach_process(ip, pid)
                .await
                .map_err(|error| chain(&error))?;
            pod.configure_network(ip, layout.gateway)
                .await
                .map_err(|error| chain(&error))
        };
        match connected.await {
            Ok(()) => {
                tracing::debug!(pod = self.pod.name_any(), "network attached");
                Ok(pod)
            }
            Err(error) => {
                let _ = pod.shutdown().await;
                Err(error)
            }
        }
    }

    /// Hears from a shim until it is gone.
    fn follow(&self, pod: &shim::Pod) {
        let (pod, messages) = (pod.clone(), self.messages.clone());
        tokio::spawn(async move {
            loop {
                if let Ok((now, mut later)) = pod.subscribe().await {
                    for record in now {
                        let _ = messages.send(Message::Changed(record));
                    }
                    while let Ok(Some(record)) = later.next().await {
                        if messages.send(Message::Changed(record)).is_err() {
                            return;
                        }
                    }
                }
                // A connection can break while the shim lives; then it is asked again.
                if tokio::time::timeout(ASK_AGAIN, pod.gone()).await.is_ok() {
                    break;
                }
            }
            let _ = messages.send(Message::ShimGone);
        });
    }

    /// The shim ended by itself, or somebody killed it.
    pub(super) async fn shim_gone(&mut self) {
        if self.is_torn_down || !matches!(self.sandbox, Some(Sandbox::Processes(_))) {
            return;
        }
        let records = match shim::adopt(&self.folder.shim()) {
            Ok(Adopted::Dead(records)) => records,
            Ok(Adopted::Alive(_)) => return,
            Err(_) => Vec::new(),
        };
        self.event(
            EventKind::Normal,
            "SandboxChanged",
            "Pod sandbox changed, it will be killed and re-created.",
        );
        self.without_sandbox(records, false).await;
    }

    /// Brings volumes with content from the API up to date.
    pub(super) async fn refresh_volumes(&mut self, now: Timestamp) {
        let is_known = !self.mounted.sources.is_empty()
            || self
                .pod
                .spec
                .as_ref()
                .is_none_or(|spec| spec.volumes.is_none());
        match self.mounted.refresh_at {
            Some(at) if at > now => return self.wake(at),
            None if is_known => return,
            _ => {}
        }
        let (pod, node, volumes) = (
            self.pod.clone(),
            self.ctx.node.clone(),
            self.ctx.volumes.clone(),
        );
        let made = volumes
            .make(
                &pod,
                &self.folder.volumes(),
                self.record.pod_ip,
                &node,
                &mut self.mounted,
            )
            .await;
        if let Err(error) = made {
            self.event(EventKind::Warning, "FailedMount", chain(&error));
            self.mounted.refresh_at = Some(seconds_after(now, 10));
        }
        if let Some(at) = self.mounted.refresh_at {
            self.wake(at);
        }
    }

    /// Ends what is left when no container runs any more; logs and the record stay.
    pub(super) async fn tear_down(&mut self) {
        // A pod that only stops with the node runs again after it, and finds its volumes as they were.
        let runs_again = self.is_draining
            && !self.is_gone
            && self.record.verdict.is_none()
            && self.pod.metadata.deletion_timestamp.is_none();
        if let Some(Sandbox::Processes(pod)) = self.sandbox.take()
            && let Err(error) = pod.shutdown().await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                pod = self.pod.name_any(),
                "ending a pod's shim failed"
            );
        }
        self.release_address().await;
        let folder = self.folder.clone();
        let stripped = tokio::task::spawn_blocking(move || folder.strip(runs_again)).await;
        if let Ok(Err(error)) = stripped {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                pod = self.pod.name_any(),
                "clearing a pod's folder failed"
            );
        }
        // The status was told before; that nothing is left to take down is news to the record alone.
        self.write_record();
        self.mounted = Default::default();
        self.is_torn_down = true;
    }

    async fn release_address(&mut self) {
        let PodRecord {
            has_sandbox,
            pod_ip,
            ..
        } = self.record;
        let Some(IpAddr::V4(ip)) = pod_ip.filter(|_| has_sandbox) else {
            return;
        };
        self.record.has_sandbox = false;
        self.ctx.services.remove_pod(ip);
        if let Some(network) = &self.ctx.network {
            let gone = if self.ctx.is_built_in(&self.pod) {
                network.remove_builtin(ip).await
            } else {
                network.detach_pod(ip).await
            };
            if let Err(error) = gone {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "taking a pod off the network failed"
                );
            }
            network.release(ip);
        }
    }
}
