//! One watch per kind, shared by every controller, with the indexes they look objects up by.

use std::future::Future;
use std::sync::Arc;

use control::Informer;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::pods::state;
use crate::templated::Templated;

/// Index of pods by the node they are bound to.
pub const BY_NODE: &str = "node";
/// Index of pods by `namespace/claim` for each claim they mount.
pub const BY_CLAIM: &str = "claim";
/// Index of ended pods, all under the empty value.
pub const ENDED: &str = "ended";
/// Index of pods and replica sets without a controlling owner, by namespace.
pub const ORPHANS: &str = "orphans";
/// Index of endpoint slices by `namespace/service`.
pub const BY_SERVICE: &str = "service";

/// Applies a macro to the names of all watches, so that none is forgotten anywhere.
macro_rules! for_each_kind {
    ($apply:ident) => {
        $apply!(
            namespaces,
            service_accounts,
            config_maps,
            pods,
            nodes,
            leases,
            deployments,
            replica_sets,
            replication_controllers,
            jobs,
            cron_jobs,
            stateful_sets,
            daemon_sets,
            revisions,
            services,
            endpoints,
            endpoint_slices,
            claims,
            volumes,
            quotas,
            budgets,
            storage_classes,
        )
    };
}

/// Takes the `(group, plural)`, the metadata, and whether the object is gone.
pub type MetadataObserver = Arc<dyn Fn(&(String, String), &ObjectMeta, bool) + Send + Sync>;

fn resource_of<K>(_: &Arc<Informer<K>>) -> (String, String)
where
    K: Resource,
    K::DynamicType: Default,
{
    let kind = K::DynamicType::default();
    (K::group(&kind).into_owned(), K::plural(&kind).into_owned())
}

/// All shared watches.
pub struct Watches {
    /// Namespaces.
    pub namespaces: Arc<Informer<Namespace>>,
    /// Service accounts.
    pub service_accounts: Arc<Informer<ServiceAccount>>,
    /// Config maps of the name `kube-root-ca.crt` alone are acted on, all are seen.
    pub config_maps: Arc<Informer<ConfigMap>>,
    /// Pods, by node and by claim.
    pub pods: Arc<Informer<Pod>>,
    /// Nodes.
    pub nodes: Arc<Informer<Node>>,
    /// Leases, of which those of nodes are their heartbeats.
    pub leases: Arc<Informer<Lease>>,
    /// Deployments.
    pub deployments: Arc<Informer<Templated<Deployment>>>,
    /// Replica sets.
    pub replica_sets: Arc<Informer<Templated<ReplicaSet>>>,
    /// Replication controllers.
    pub replication_controllers: Arc<Informer<Templated<ReplicationController>>>,
    /// Jobs.
    pub jobs: Arc<Informer<Templated<Job>>>,
    /// Cron jobs.
    pub cron_jobs: Arc<Informer<Templated<CronJob>>>,
    /// Stateful sets.
    pub stateful_sets: Arc<Informer<Templated<StatefulSet>>>,
    /// Daemon sets.
    pub daemon_sets: Arc<Informer<Templated<DaemonSet>>>,
    /// Revisions of stateful and daemon sets.
    pub revisions: Arc<Informer<ControllerRevision>>,
    /// Services.
    pub services: Arc<Informer<Service>>,
    /// Endpoints.
    pub endpoints: Arc<Informer<Endpoints>>,
    /// Endpoint slices, by service.
    pub endpoint_slices: Arc<Informer<EndpointSlice>>,
    /// Persistent volume claims.
    pub claims: Arc<Informer<PersistentVolumeClaim>>,
    /// Persistent volumes.
    pub volumes: Arc<Informer<PersistentVolume>>,
    /// Resource quotas.
    pub quotas: Arc<Informer<ResourceQuota>>,
    /// Pod disruption budgets.
    pub budgets: Arc<Informer<PodDisruptionBudget>>,
    /// Storage classes.
    pub storage_classes: Arc<Informer<StorageClass>>,
}

impl Watches {
    /// Watches that have not started.
    pub fn new() -> Self {
        Self {
            namespaces: Informer::new(Vec::new()),
            service_accounts: Informer::new(Vec::new()),
            config_maps: Informer::new(Vec::new()),
            pods: Informer::new(vec![
                (BY_NODE, |pod| {
                    state::node(pod).map(str::to_owned).into_iter().collect()
                }),
                (BY_CLAIM, claims_of),
                (ORPHANS, orphan_in),
                (ENDED, |pod| {
                    state::is_terminal(pod)
                        .then(String::new)
                        .into_iter()
                        .collect()
                }),
            ]),
            nodes: Informer::new(Vec::new()),
            leases: Informer::new(Vec::new()),
            deployments: Informer::new(Vec::new()),
            replica_sets: Informer::new(vec![(ORPHANS, orphan_in)]),
            replication_controllers: Informer::new(Vec::new()),
            jobs: Informer::new(Vec::new()),
            cron_jobs: Informer::new(Vec::new()),
            stateful_sets: Informer::new(Vec::new()),
            daemon_sets: Informer::new(Vec::new()),
            revisions: Informer::new(Vec::new()),
            services: Informer::new(Vec::new()),
            endpoints: Informer::new(Vec::new()),
            endpoint_slices: Informer::new(vec![(BY_SERVICE, |slice| {
                let service = slice.labels().get("kubernetes.io/service-name");
                service
                    .map(|name| index_value(slice.metadata.namespace.as_deref(), name))
                    .into_iter()
                    .collect()
            })]),
            claims: Informer::new(Vec::new()),
            volumes: Informer::new(Vec::new()),
            quotas: Informer::new(Vec::new()),
            budgets: Informer::new(Vec::new()),
            storage_classes: Informer::new(Vec::new()),
        }
    }

    /// Calls `observe` with the metadata of every change of every kind watched here.
    pub fn on_metadata(&self, observe: MetadataObserver) {
        macro_rules! each {
            ($($kind:ident),* $(,)?) => {$({
                let (resource, observe) = (resource_of(&self.$kind), observe.clone());
                self.$kind.on_change(move |change| {
                    observe(&resource, change.latest().meta(), change.new.is_none());
                });
            })*};
        }
        for_each_kind!(each);
    }

    /// The `(group, plural)` of every kind watched here.
    pub fn resources(&self) -> Vec<(String, String)> {
        macro_rules! each {
            ($($kind:ident),* $(,)?) => { vec![$(resource_of(&self.$kind)),*] };
        }
        for_each_kind!(each)
    }

    /// Waits until every kind has been listed once.
    pub async fn synced(&self) {
        macro_rules! each {
            ($($kind:ident),* $(,)?) => {$( self.$kind.synced().await; )*};
        }
        for_each_kind!(each);
    }

    /// The futures that watch, one per kind, until shut down.
    pub fn run(
        &self,
        client: &Client,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        macro_rules! each {
            ($($kind:ident),* $(,)?) => {
                futures::future::join_all([$(
                    Box::pin(self.$kind.clone().run(Api::all(client.clone()), shutdown.clone()))
                        as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
                )*])
            };
        }
        let all = for_each_kind!(each);
        async move {
            all.await;
        }
    }
}

/// The namespace of an object that no owner controls.
fn orphan_in<K: ResourceExt>(object: &K) -> Vec<String> {
    let is_orphan = control::owners::controller_of(object).is_none();
    is_orphan
        .then(|| object.namespace().unwrap_or_default())
        .into_iter()
        .collect()
}

/// `namespace/name`, as the indexes spell it.
pub fn index_value(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// The claims a pod mounts, those of ephemeral volumes included.
pub fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let namespace = pod.metadata.namespace.as_deref();
    let name_of = |volume: &k8s_openapi::api::core::v1::Volume| {
        if let Some(source) = &volume.persistent_volume_claim {
            return Some(source.claim_name.clone());
        }
        volume
            .ephemeral
            .as_ref()
            .map(|_| format!("{}-{}", pod.name_any(), volume.name))
    };
    volumes
        .into_iter()
        .flatten()
        .filter_map(name_of)
        .map(|name| index_value(namespace, &name))
        .collect()
}
