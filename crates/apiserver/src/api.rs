//! The server's state, shared by all requests: store, registry, identities, addresses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::authn::Authenticator;
use crate::authz::{self, Authorizer, Rbac};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::metrics::Metrics;
use crate::registry::{Registry, Resource, crd};
use crate::services::{self, Allocator};
use crate::store::{Entry, Snapshot, Store};
use crate::tls::Keys;

/// Requests that read, and that write, at one time; more wait for [`QUEUE_WAIT`] and are then told to come back.
pub const READS_IN_FLIGHT: usize = 400;
/// See [`READS_IN_FLIGHT`].
pub const WRITES_IN_FLIGHT: usize = 200;
/// How long a request waits for its turn.
pub const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// How long a request that is no watch or stream may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Shared state of a server.
pub struct Api {
    /// Objects.
    pub store: Store,
    /// Resources.
    pub registry: ArcSwap<Registry>,
    /// Records of built-in kinds, which every registry begins with.
    pub builtins: Vec<Arc<Resource>>,
    /// Who asks.
    pub authenticator: Authenticator,
    /// Who may.
    pub authorizer: Arc<Authorizer>,
    /// Keys and certificates.
    pub keys: Keys,
    /// Service addresses.
    pub services: Allocator,
    /// What a write must pass.
    pub admission: Admission,
    /// Whose turn it is where quotas count.
    pub turns: crate::turns::Turns,
    /// How nodes, pods and Services are reached.
    pub backend: Backend,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when the server stops; watches and streams end then.
    pub shutdown: CancellationToken,
    /// Readers in flight.
    pub reads: Arc<Semaphore>,
    /// Writers in flight.
    pub writes: Arc<Semaphore>,
    /// Documents of discovery and OpenAPI, made on first use.
    pub documents: crate::discovery::Documents,
    /// Woken when ClusterRoles change.
    pub cluster_roles_changed: tokio::sync::Notify,
    is_ready: AtomicBool,
    syncing: Mutex<()>,
    cleaning: std::sync::Mutex<BTreeSet<String>>,
    this: std::sync::Weak<Api>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// The parts that [`Api::new`] puts together.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) builtins: Vec<Arc<Resource>>,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) admission: Admission,
    pub(crate) keys: Keys,
    pub(crate) backend: Backend,
    pub(crate) reader: Arc<Reader>,
}

impl Api {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let registry = Registry::new(parts.builtins.iter().cloned(), 0);
        let reader = parts.reader;
        let api = Arc::new_cyclic(|this| Self {
            store: parts.store,
            registry: ArcSwap::from_pointee(registry),
            builtins: parts.builtins,
            authenticator: parts.authenticator,
            authorizer: parts.authorizer,
            keys: parts.keys,
            services: Allocator::default(),
            admission: parts.admission,
            turns: Default::default(),
            backend: parts.backend,
            metrics: Metrics::default(),
            shutdown: CancellationToken::new(),
            reads: Arc::new(Semaphore::new(READS_IN_FLIGHT)),
            writes: Arc::new(Semaphore::new(WRITES_IN_FLIGHT)),
            documents: Default::default(),
            cluster_roles_changed: tokio::sync::Notify::new(),
            is_ready: AtomicBool::new(false),
            syncing: Mutex::default(),
            cleaning: Default::default(),
            this: this.clone(),
        });
        let _ = reader.api.set(Arc::downgrade(&api));
        api
    }

    /// One moment of the store for a decision.
    pub fn lookup(&self) -> Moment {
        Moment {
            snapshot: self.store.snapshot(),
            registry: self.registry.load_full(),
        }
    }

    /// A built-in resource by its group and plural.
    pub fn builtin(&self, group: &str, plural: &str) -> &Arc<Resource> {
        self.builtins
            .iter()
            .find(|resource| resource.group == group && resource.plural == plural)
            .expect("callers name resources of the built-in table")
    }

    /// What a stored change means for the rest of the server. Runs before the client is answered, so that it can rely
    /// on it: a role is in force, a custom resource is served, an address is free.
    pub async fn after_write(
        &self,
        resource: &Resource,
        before: Option<&Arc<Entry>>,
        after: Option<&Arc<Entry>>,
    ) {
        if services::is_service(resource) {
            if let Some(before) = before {
                self.services
                    .release(&before.value(), after.map(|entry| entry.value()).as_ref());
            }
        } else if resource.group == authz::RBAC_GROUP {
            // At start all roles come at once and are read once, at the end.
            if self.is_ready() {
                self.reload_rbac();
                if resource.plural == "clusterroles" {
                    self.cluster_roles_changed.notify_one();
                }
            }
        } else if resource.group == crd::GROUP
            && resource.plural == "customresourcedefinitions"
            && let Err(err) = self.reload_registry().await
        {
            tracing::error!(error = %err, "custom resources are not up to date");
        }
    }

    /// Whether everything that is there from the start is there.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Makes the roles and bindings in the store the ones in force.
    pub fn reload_rbac(&self) {
        let moment = self.lookup();
        let of = |plural: &str| moment.list(authz::RBAC_GROUP, plural, "");
        let (roles, role_bindings) = (of("roles"), of("rolebindings"));
        let (cluster_roles, cluster_role_bindings) =
            (of("clusterroles"), of("clusterrolebindings"));
        self.authorizer.replace(Rbac::rebuild(
            roles.iter().map(AsRef::as_ref),
            role_bindings.iter().map(AsRef::as_ref),
            cluster_roles.iter().map(AsRef::as_ref),
            cluster_role_bindings.iter().map(AsRef::as_ref),
        ));
    }

    /// Makes the CRDs in the store the ones served, and begins the clean-up of deleted ones.
    pub async fn reload_registry(&self) -> Result<(), ApiError> {
        let _one_at_a_time = self.syncing.lock().await;
        let definitions = self
            .lookup()
            .list(crd::GROUP, "customresourcedefinitions", "");
        let names: Vec<(String, String)> = definitions
            .iter()
            .map(|crd| {
                let text = |pointer: &str| {
                    crd.pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                (text("/spec/group"), text("/spec/names/plural"))
            })
            .collect();
        let collections = self.store.collections(&names).await?;
        let previous = self.registry.load_full();
        let custom = definitions
            .iter()
            .zip(&collections)
            .flat_map(|(crd, collection)| crd::resources(crd, collection, &previous));
        let resources: Vec<_> = self.builtins.iter().cloned().chain(custom).collect();
        let registry = Registry::new(resources, previous.generation + 1);
        self.registry.store(Arc::new(registry));
        // Watches of what is no longer served end.
        for collection in previous
            .all()
            .filter_map(|resource| resource.collection.as_ref())
        {
            collection.ring.wake();
        }
        for crd in definitions
            .iter()
            .filter(|crd| objects::meta::is_being_deleted(crd))
        {
            self.start_cleaning(objects::meta::name(crd));
        }
        Ok(())
    }

    fn start_cleaning(&self, name: &str) {
        let mut cleaning = self.cleaning.lock().expect("no holder of this lock panics");
        if !cleaning.insert(name.to_owned()) {
            return;
        }
        let Some(api) = self.this.upgrade() else {
            return;
        };
        let name = name.to_owned();
        tokio::spawn(async move {
            if let Err(err) = crate::cleanup::run(&api, &name).await {
                tracing::warn!(object.kind = "CustomResourceDefinition", object.name = name, error = %err, "cleaning up");
            }
            api.cleaning
                .lock()
                .expect("no holder of this lock panics")
                .remove(&name);
        });
    }
}

/// The store as decisions read it.
#[derive(Debug)]
pub struct Moment {
    snapshot: Arc<Snapshot>,
    registry: Arc<Registry>,
}

impl Lookup for Moment {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let record = self.registry.find_any(group, resource)?;
        let entry = self
            .snapshot
            .get(record.collection.as_ref()?.id, &record.key(namespace, name))?;
        // Every request of a service account looks at the account, every creation at its namespace.
        if group.is_empty() && matches!(resource, "namespaces" | "serviceaccounts") {
            return Some(entry.kept_value().clone());
        }
        Some(Arc::new(record.value(entry)))
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(record) = self.registry.find_any(group, resource) else {
            return Vec::new();
        };
        let Some(collection) = &record.collection else {
            return Vec::new();
        };
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        crate::store::snapshot::range(self.snapshot.map(collection.id), &prefix, "")
            .map(|(_, entry)| Arc::new(record.value(entry)))
            .collect()
    }

    fn any(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        may_be: &dyn Fn(&str) -> bool,
        is_meant: &dyn Fn(&Value) -> bool,
    ) -> bool {
        let Some(record) = self.registry.find_any(group, resource) else {
            return false;
        };
        let Some(collection) = &record.collection else {
            return false;
        };
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        crate::store::snapshot::range(self.snapshot.map(collection.id), &prefix, "").any(
            |(_, entry)| {
                std::str::from_utf8(&entry.bytes).is_ok_and(may_be)
                    && is_meant(&record.value(entry))
            },
        )
    }
}

/// Always the latest moment; for those who are made before the server is and live as long as it.
#[derive(Debug, Default)]
pub struct Reader {
    /// Set once the server exists.
    pub api: std::sync::OnceLock<std::sync::Weak<Api>>,
}

impl Reader {
    fn moment(&self) -> Option<Moment> {
        self.api.get()?.upgrade().map(|api| api.lookup())
    }
}

impl Lookup for Reader {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.moment()?.get(group, resource, namespace, name)
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.moment()
            .map(|moment| moment.list(group, resource, namespace))
            .unwrap_or_default()
    }

    fn any(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        may_be: &dyn Fn(&str) -> bool,
        is_meant: &dyn Fn(&Value) -> bool,
    ) -> bool {
        self.moment()
            .is_some_and(|moment| moment.any(group, resource, namespace, may_be, is_meant))
    }
}
