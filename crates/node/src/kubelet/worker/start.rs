//! Starting one run of a container: image, environment, mounts, then the shim (or a task). Runs beside the worker's
//! loop and can be called off until the shim is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use objects::chain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sandbox::Sandbox;
use super::{Message, Worker};
use crate::builtin::{PodContext, TaskSpec, Tasks};
use crate::env;
use crate::images::{Prepared, copy, python};
use crate::kubelet::Context;
use crate::kubelet::capacity::device_files;
use crate::kubelet::events::Kind as EventKind;
use crate::kubelet::folders::{ENVIRONMENT, PodFolder};
use crate::kubelet::record::run_id;
use crate::kubelet::spec;
use crate::volumes::{self, Mounted, TokenWish, fetch, request_token, service_account};

/// Why a run did not begin.
#[derive(Debug)]
pub enum Failure {
    /// The pod is to end.
    CalledOff,
    /// The image is not to be had.
    Image {
        /// `ErrImagePull`, `ErrImageNeverPull` or `InvalidImageName`.
        reason: &'static str,
        /// The image.
        image: String,
        /// Why, and what to do.
        message: String,
    },
    /// The container cannot be run as it is written.
    Config {
        /// `CreateContainerConfigError` or `CreateContainerError`.
        reason: &'static str,
        /// Why.
        message: String,
    },
}

/// The token of a built-in pod is asked for this long; it is bound to the pod and ends with it.
const BUILT_IN_TOKEN_S: i64 = 365 * 24 * 3600;

pub(super) struct Job {
    pub(super) ctx: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    restarts: u32,
    sandbox: Sandbox,
    mounted: Mounted,
    pod_ip: Option<IpAddr>,
    folder: PodFolder,
    messages: mpsc::UnboundedSender<Message>,
}

impl Worker {
    /// Begins a run in the background.
    pub(super) fn start(&mut self, name: &str, now: Timestamp) {
        let (Some(container), Some(sandbox)) =
            (self.container(name).cloned(), self.sandbox.clone())
        else {
            return;
        };
        let own = self.record.container_mut(name);
        own.begin(now);
        let restarts = own.restarts;
        let cancel = CancellationToken::new();
        self.starts.insert(name.to_owned(), cancel.clone());
        let job = Job {
            ctx: self.ctx.clone(),
            pod: self.pod.clone(),
            container,
            restarts,
            sandbox,
            mounted: self.mounted.clone(),
            pod_ip: self.record.pod_ip,
            folder: self.folder.clone(),
            messages: self.messages.clone(),
        };
        tokio::spawn(job.run(cancel));
    }
}

impl Job {
    async fn run(self, cancel: CancellationToken) {
        let prepared = match cancel.run_until_cancelled(self.prepare()).await {
            None => Err(Failure::CalledOff),
            Some(prepared) => prepared,
        };
        let name = &self.container.name;
        tracing::debug!(
            pod = self.pod.name_any(),
            container = name,
            "{name} prepared"
        );
        let started = match prepared {
            Ok(ready) => self.launch(ready).await,
            Err(failure) => Err(failure),
        };
        tracing::debug!(
            pod = self.pod.name_any(),
            container = name,
            "{name} started"
        );
        if let Err(failure) = started {
            let container = self.container.name.clone();
            let _ = self.messages.send(Message::StartFailed {
                container,
                restarts: self.restarts,
                failure,
            });
        }
    }

    pub(super) fn event(&self, kind: EventKind, reason: &'static str, message: impl Into<String>) {
        self.ctx
            .events
            .container(&self.pod, &self.container.name, kind, reason, message);
    }

    /// Everything up to the point where the run begins.
    async fn prepare(&self) -> Result<Ready, Failure> {
        let image = self.image().await?;
        let _ = self.messages.send(Message::Image {
            container: self.container.name.clone(),
            id: image.image_id.clone(),
        });
        let config = |message: String| Failure::Config {
            reason: "CreateContainerConfigError",
            message,
        };
        let namespace = self.pod.namespace().unwrap_or_default();
        let referenced = fetch(
            &self.ctx.client,
            &namespace,
            &env::references(&self.container),
        )
        .await
        .map_err(|error| config(chain(&error)))?;
        // A container keeps for its whole life what it learns about Services now.
        self.ctx.services.complete().await;
        let services = self.ctx.services.all();
        let environment = env::build(&env::Inputs {
            pod: &self.pod,
            container: &self.container,
            pod_ip: self.pod_ip,
            node: &self.ctx.node,
            services: &services,
            referenced: &referenced,
            image: &image.env,
            settings: self.ctx.images.settings(),
        })
        .map_err(|error| config(error.to_string()))?;
        let mounts = volumes::mounts(&self.container, &self.mounted, &environment)
            .map_err(|error| config(error.to_string()))?;
        if let Sandbox::Tasks(tasks) = &self.sandbox {
            let command = spec::command_line(&self.container, &image, &environment)
                .map_err(|error| config(error.to_string()))?;
            return Ok(Ready::Task(
                tasks.clone(),
                Box::new(self.task(command, environment, &mounts).await?),
            ));
        }
        let run = self.folder.run(&self.container.name, self.restarts);
        let create = |message: String| Failure::Config {
            reason: "CreateContainerError",
            message,
        };
        self.make_run_folder(&run, &image)
            .await
            .map_err(|error| create(format!("making its folder: {error}")))?;
        let id = run_id(
            &self.pod.uid().unwrap_or_default(),
            &self.container.name,
            self.restarts,
        );
        let gpus = self.gpus(&id, &run).map_err(create)?;
        let spec = spec::container_spec(spec::Inputs {
            pod: &self.pod,
            container: &self.container,
            restarts: self.restarts,
            image: &image,
            env: environment,
            mounts,
            run: &run,
            log: self.folder.log(&self.container.name, self.restarts),
            devices: device_files(&gpus),
            gpus: &gpus,
            memory_clamp: self.memory_clamp(),
        })
        .map_err(|error| config(error.to_string()))?;
        Ok(Ready::Process(Box::new(spec)))
    }

    async fn launch(&self, ready: Ready) -> Result<(), Failure> {
        let name = &self.container.name;
        match ready {
            Ready::Task(tasks, task) => {
                self.event(
                    EventKind::Normal,
                    "Created",
                    format!("Created container: {name}"),
                );
                tasks.start(&self.ctx.components, *task);
                self.event(
                    EventKind::Normal,
                    "Started",
                    format!("Started container {name}"),
                );
            }
            Ready::Process(spec) => {
                let Sandbox::Processes(pod) = &self.sandbox else {
                    return Err(Failure::CalledOff);
                };
                self.event(
                    EventKind::Normal,
                    "Created",
                    format!("Created container: {name}"),
                );
                let record = pod
                    .start_container(*spec)
                    .await
                    .map_err(|error| Failure::Config {
                        reason: "CreateContainerError",
                        message: chain(&error),
                    })?;
                if record.reason.as_deref() != Some("StartError") {
                    self.event(
                        EventKind::Normal,
                        "Started",
                        format!("Started container {name}"),
                    );
                }
                // The subscription says the same; whichever comes first counts.
                let _ = self.messages.send(Message::Changed(record));
            }
        }
        Ok(())
    }

    async fn task(
        &self,
        command: Vec<String>,
        environment: BTreeMap<String, String>,
        mounts: &[crate::shim::Mount],
    ) -> Result<TaskSpec, Failure> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let wish = TokenWish {
            audience: String::new(),
            expiration_seconds: BUILT_IN_TOKEN_S,
        };
        let (token, _) = request_token(
            &self.ctx.client,
            &self.pod,
            &namespace,
            service_account(&self.pod),
            &wish,
        )
        .await
        .map_err(|error| Failure::Config {
            reason: "CreateContainerConfigError",
            message: chain(&error),
        })?;
        let ports = self.container.ports.iter().flatten();
        let host_ports = ports
            .filter_map(|port| {
                Some((
                    u16::try_from(port.container_port).ok()?,
                    u16::try_from(port.host_port?).ok()?,
                ))
            })
            .collect();
        let volumes = mounts
            .iter()
            .map(|mount| {
                let source = match &mount.sub_path {
                    Some(path) => mount.source.join(path),
                    None => mount.source.clone(),
                };
                (mount.target.clone(), source)
            })
            .collect();
        Ok(TaskSpec {
            attempt: self.restarts,
            command,
            log: self.folder.log(&self.container.name, self.restarts),
            context: PodContext {
                name: self.pod.name_any(),
                namespace,
                uid: self.pod.uid().unwrap_or_default(),
                container: self.container.name.clone(),
                args: Vec::new(),
                env: environment,
                client: (self.ctx.client_factory)(&token),
                shutdown: CancellationToken::new(),
                ip: match self.pod_ip {
                    Some(IpAddr::V4(ip)) => ip,
                    _ => std::net::Ipv4Addr::LOCALHOST,
                },
                volumes,
                host_ports,
                host_listeners: self.ctx.host_listeners.clone(),
                network: self.ctx.network.clone(),
                services: self.ctx.services.clone(),
            },
        })
    }

    /// The folder of this run: its termination message, its own Python, its copy of a folder image.
    async fn make_run_folder(&self, run: &Path, image: &Prepared) -> io::Result<()> {
        let run = run.to_owned();
        let (python, copy) = (image.python.clone(), image.copy.clone());
        let environment = image.environment.clone();
        let work = move || {
            // A run that did not begin may have left its folder.
            crate::shim::remove(&run)?;
            fs::create_dir_all(&run)?;
            let message = spec::termination_message(&run);
            fs::write(&message, "")?;
            fs::set_permissions(&message, fs::Permissions::from_mode(0o666))?;
            if let Some(key) = environment {
                fs::write(run.join(ENVIRONMENT), key)?;
            }
            if let Some(interpreter) = python {
                python::write_layer(&spec::python_folder(&run), &interpreter)?;
            }
            if let Some((content, _)) = copy {
                copy_tree(&content, &spec::copy_folder(&run))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn gpus(&self, id: &str, run: &Path) -> Result<Vec<u32>, String> {
        let count = spec::gpu_count(&self.container);
        if count == 0 {
            return Ok(Vec::new());
        }
        if self
            .pod
            .annotations()
            .get("ferroflow.io/gpu-fallback")
            .is_some_and(|value| value == "cpu")
        {
            let asked = match count {
                1 => "a GPU".to_owned(),
                _ => format!("{count} GPUs"),
            };
            let text = format!(
                "The container asks for {asked}, which this machine has not; it runs on the CPU, as --gpu-fallback=cpu allows"
            );
            self.event(EventKind::Warning, "GpuFallback", text);
            return Ok(Vec::new());
        }
        let gpus = self
            .ctx
            .gpus
            .take(id, count)
            .ok_or_else(|| format!("{count} GPUs are not free on this node"))?;
        let text = serde_json::to_string(&gpus).unwrap_or_default();
        fs::write(run.join("gpus.json"), text)
            .map_err(|error| format!("noting its GPUs: {error}"))?;
        Ok(gpus)
    }

    fn memory_clamp(&self) -> Option<u64> {
        let clamps = self
            .pod
            .annotations()
            .get("ferroflow.io/memory-fallback")
            .is_some_and(|value| value == "clamp");
        if !clamps {
            return None;
        }
        let text = self.ctx.node.allocatable.get("memory")?;
        let most = text
            .parse::<objects::quantity::Quantity>()
            .ok()
            .and_then(|q| u64::try_from(q.as_bytes()).ok())?;
        self.event(
            EventKind::Warning,
            "MemoryFallback",
            format!("The container may use {:.1} GiB of memory, all this machine has, instead of what it asks for, as --memory-fallback=clamp allows", gibibytes(most)),
        );
        Some(most)
    }
}

/// Bytes as people say them, in GiB.
#[allow(clippy::cast_precision_loss)] // one decimal is shown
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

enum Ready {
    Process(Box<crate::shim::ContainerSpec>),
    Task(Tasks, Box<TaskSpec>),
}

/// The GPUs that a run was given, as noted in its folder.
pub(super) fn gpus_of(run: &Path) -> Option<Vec<u32>> {
    serde_json::from_slice(&fs::read(run.join("gpus.json")).ok()?).ok()
}

/// Copies a folder with its links and modes. What is in a store is never written through.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    copy::tree(from, to, |_, _| Ok(()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o777))
}
