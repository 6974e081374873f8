//! Watches the metadata of every resource that can be deleted: kinds that are watched anyway from those watches, all
//! others, custom resources included, by watches of their own that come and go with the resources.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::Queue;
use control::informer::Pause;
use futures::StreamExt;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::graph::{Graph, Look, ResourceName};
use crate::discovery::{Resource, discover};

/// Kinds whose objects are many, short-lived and own nothing.
const IGNORED: &[(&str, &str)] = &[("", "events"), ("events.k8s.io", "events")];
/// Custom resource definitions change several times while they come up; one look afterwards is enough.
const SETTLE: Duration = Duration::from_millis(100);
/// Wait after a discovery that was incomplete.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The graph and what is known of resources, shared by monitors and workers.
#[derive(Default)]
pub struct Known {
    /// Who owns whom.
    pub graph: Mutex<Graph>,
    /// Resources by group and plural.
    resources: Mutex<HashMap<ResourceName, Resource>>,
    /// Objects worth a look.
    pub queue: Queue<Look>,
    /// Told when resources may have come or gone.
    pub rediscover: Notify,
    existence: Mutex<Vec<ExistenceObserver>>,
}

/// Takes the namespace in which an object came or went.
pub type ExistenceObserver = Box<dyn Fn(&str) + Send + Sync>;

impl Known {
    /// Takes a change seen by any watch.
    pub fn observe(
        &self,
        resource: &ResourceName,
        metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        is_gone: bool,
    ) {
        let looks = {
            let mut graph = self
                .graph
                .lock()
                .expect("no holder of the graph lock panics");
            let was_there = metadata
                .uid
                .as_ref()
                .is_some_and(|uid| graph.get(uid).is_some());
            if was_there == is_gone
                && let Some(namespace) = &metadata.namespace
            {
                let observers = self.existence.lock().expect("no holder of the lock panics");
                observers.iter().for_each(|observe| observe(namespace));
            }
            match (&metadata.uid, is_gone) {
                (Some(uid), true) => graph.remove(uid),
                _ => graph.observe(resource, metadata),
            }
        };
        for look in looks {
            self.queue.add(look);
        }
        if resource.1 == "customresourcedefinitions" {
            self.rediscover.notify_one();
        }
    }

    /// Calls `observe` with the namespace of every object that comes or goes.
    pub fn on_existence(&self, observe: ExistenceObserver) {
        self.existence
            .lock()
            .expect("no holder of the lock panics")
            .push(observe);
    }

    /// The resource of a name.
    pub fn resource(&self, name: &ResourceName) -> Option<Resource> {
        self.resources
            .lock()
            .expect("no holder of the lock panics")
            .get(name)
            .cloned()
    }

    /// The resource of a kind in a group.
    pub fn resource_of_kind(&self, group: &str, kind: &str) -> Option<Resource> {
        let resources = self.resources.lock().expect("no holder of the lock panics");
        resources
            .values()
            .find(|resource| resource.api.group == group && resource.api.kind == kind)
            .cloned()
    }
}

/// Keeps monitors of all resources running until shut down; `ready` is told when the first set has listed everything.
pub async fn run(
    client: Client,
    known: Arc<Known>,
    shared: HashSet<ResourceName>,
    ready: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut monitors: HashMap<ResourceName, CancellationToken> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut is_first = true;
    loop {
        let (resources, failures) = discover(&client).await;
        for failure in &failures {
            tracing::warn!("discovery for garbage collection is incomplete: {failure}");
        }
        let wanted: HashMap<ResourceName, Resource> = resources
            .into_iter()
            .map(|resource| {
                (
                    (resource.api.group.clone(), resource.api.plural.clone()),
                    resource,
                )
            })
            .collect();
        if failures.is_empty() {
            // Only a complete answer tells that a resource is gone.
            monitors.retain(|name, stop| {
                let stays = wanted.contains_key(name);
                if !stays {
                    stop.cancel();
                }
                stays
            });
        }
        let mut listed = Vec::new();
        for (name, resource) in &wanted {
            let is_ignored = IGNORED
                .iter()
                .any(|(group, plural)| name.0 == *group && name.1 == *plural);
            let can_monitor = ["list", "watch", "delete"]
                .iter()
                .all(|verb| resource.can(verb));
            if shared.contains(name) || is_ignored || !can_monitor || monitors.contains_key(name) {
                continue;
            }
            let stop = shutdown.child_token();
            let first_list = Arc::new(Notify::new());
            listed.push(first_list.clone());
            tasks.spawn(monitor(
                client.clone(),
                resource.clone(),
                known.clone(),
                first_list,
                stop.clone(),
            ));
            monitors.insert(name.clone(), stop);
        }
        known
            .resources
            .lock()
            .expect("no holder of the lock panics")
            .extend(wanted);
        while tasks.try_join_next().is_some() {}
        if is_first && failures.is_empty() {
            for first_list in listed {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = first_list.notified() => {}
                }
            }
            ready.notify_one();
            is_first = false;
        }
        let retry = async {
            if failures.is_empty() {
                std::future::pending().await
            } else {
                tokio::time::sleep(RETRY_AFTER).await
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = retry => {}
            () = known.rediscover.notified() => tokio::time::sleep(SETTLE).await,
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn monitor(
    client: Client,
    resource: Resource,
    known: Arc<Known>,
    first_list: Arc<Notify>,
    stop: CancellationToken,
) {
    let name = (resource.api.group.clone(), resource.api.plural.clone());
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource.api);
    let events = watcher(api, watcher::Config::default())
        .backoff(Pause::default())
        .take_until(stop.cancelled_owned());
    let mut events = std::pin::pin!(events);
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => seen.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                seen.extend(object.metadata.uid.clone());
                known.observe(&name, &object.metadata, false);
            }
            Ok(watcher::Event::Apply(object)) => known.observe(&name, &object.metadata, false),
            Ok(watcher::Event::Delete(object)) => known.observe(&name, &object.metadata, true),
            Ok(watcher::Event::InitDone) => {
                let missing = {
                    let graph = known
                        .graph
                        .lock()
                        .expect("no holder of the graph lock panics");
                    graph.missing(&name, &seen)
                };
                for uid in missing {
                    let gone = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                        uid: Some(uid),
                        ..Default::default()
                    };
                    known.observe(&name, &gone, true);
                }
                seen.clear();
                first_list.notify_one();
            }
            Err(error) => {
                tracing::debug!(resource = name.1, error = %objects::chain(&error), "watch of metadata broke off");
                // A resource that is on its way out must not hold the others up.
                first_list.notify_one();
            }
        }
    }
}
