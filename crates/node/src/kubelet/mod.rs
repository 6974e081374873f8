//! What pods mean to Kubernetes: the node's own objects, one worker per pod that is bound to it, and their status.
//! Level-triggered: a worker looks at the pod, at its record and at what runs, decides (`plan`), acts, and tells.
//! Processes are the shim's, networks the holder's, environments `images`'.

mod backoff;
mod capacity;
mod events;
mod folders;
mod hooks;
pub(crate) mod logs;
mod plan;
mod record;
pub mod register;
pub(crate) mod services;
mod spec;
mod status;
mod watch;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};

use crate::builtin::{self, ClientFactory, HostListeners, Table};
use crate::env::NodeFacts;
use crate::images::Images;
use crate::net::{Layout, NodeNetwork};
use crate::shim::{self, Isolation};
use crate::volumes::Volumes;

pub use capacity::{Capacity, GpuPool};
pub use events::Recorder;
pub use folders::{Folders, PodFolder};
pub use register::{Identity, keep_alive, publish};
pub use watch::{Kubelet, Running};

/// What every worker works with.
pub struct Context {
    /// The API, as the node.
    pub client: Client,
    /// Clients for built-in pods, from their own tokens.
    pub client_factory: ClientFactory,
    /// The node's own facts.
    pub node: NodeFacts,
    /// Where pods' files are.
    pub folders: Folders,
    /// Where images come from.
    pub images: Images,
    /// How volumes are made.
    pub volumes: Volumes,
    /// The pod network; none where pods are plain processes.
    pub network: Option<NodeNetwork>,
    /// Says things about pods.
    pub events: Recorder,
    /// The cluster's Services.
    pub services: services::ServiceIndex,
    /// Our own components.
    pub components: Table,
    /// This machine's own ports that pods may have.
    pub host_listeners: HostListeners,
    /// This program, re-executed as shim.
    pub exe: PathBuf,
    /// How pods are kept apart.
    pub isolation: Isolation,
    /// GPUs to hand out.
    pub gpus: GpuPool,
    /// The cluster's domain.
    pub domain: String,
    /// What runs now, for the HTTP API.
    pub pods: PodIndex,
}

impl Context {
    /// Whether a pod runs as tasks of this process. The mark counts only where this process has components: there an
    /// API server of ours sets it and refuses it to everybody else, elsewhere anybody could.
    fn is_built_in(&self, pod: &Pod) -> bool {
        !self.components.is_empty()
            && pod
                .annotations()
                .get(builtin::ANNOTATION)
                .is_some_and(|value| value == "true")
    }

    /// Addresses of the network, the usual ones where there is none.
    fn layout(&self) -> Layout {
        self.network
            .as_ref()
            .map(|network| network.layout().clone())
            .unwrap_or_default()
    }
}

/// A pod of this node, as the HTTP API needs it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The object with the status that was last computed.
    pub pod: Arc<Pod>,
    /// Its files.
    pub folder: PodFolder,
    /// Its processes, if it has any.
    pub shim: Option<shim::Pod>,
    /// By container: the number of its current or last run, and whether that runs now.
    pub runs: BTreeMap<String, (u32, bool)>,
    /// Its address.
    pub ip: Option<IpAddr>,
}

/// The pods of this node by namespace and name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PodIndex {
    pods: Arc<Mutex<HashMap<(String, String), Known>>>,
}

impl PodIndex {
    /// A pod by name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Known> {
        self.lock()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All pods.
    pub fn all(&self) -> Vec<Known> {
        self.lock().values().cloned().collect()
    }

    /// Adds a pod that no worker owns.
    #[cfg(test)]
    pub(crate) fn set_for_test(&self, known: Known) {
        self.set(
            &known.pod.namespace().unwrap_or_default(),
            &known.pod.name_any(),
            known.clone(),
        );
    }

    fn set(&self, namespace: &str, name: &str, known: Known) {
        self.lock()
            .insert((namespace.to_owned(), name.to_owned()), known);
    }

    /// Forgets a pod, unless its name already belongs to another one.
    fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut pods = self.lock();
        if pods
            .get(&key)
            .is_some_and(|known| known.pod.metadata.uid.as_deref() == Some(uid))
        {
            pods.remove(&key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Known>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
