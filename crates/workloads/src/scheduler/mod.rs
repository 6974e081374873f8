//! The scheduler: gives every pod of `default-scheduler` a node, or says why none fits and what to do about it.
//! One task decides, on what the watches say, the moment they say it; writes run beside it.

mod affinity;
mod bind;
mod cluster;
mod fallback;
mod message;
mod placement;
mod queue;
mod resources;
mod spread;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use control::{Change, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::setup::Setup;
use crate::watches::Watches;
pub use affinity::node_matches;
use bind::Binder;
use cluster::Cluster;
use fallback::Fallback;
pub use placement::tolerates;
pub use resources::requests_of;
pub use volumes::{SELECTED_NODE, waits_for_consumer};

/// The scheduler's name in pods, and the source of its events.
const NAME: &str = "default-scheduler";
const IDENTITY: &str = "kube-scheduler";
/// Reason of a pod that fits nowhere.
const UNSCHEDULABLE: &str = "Unschedulable";
/// Reason of a pod that is not to be scheduled yet.
const GATED: &str = "SchedulingGated";
const GATED_TEXT: &str = "Scheduling is blocked due to non-empty scheduling gates";
/// Wait after a failed binding.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Writes under way at one time.
const WRITES: usize = 64;

enum Event {
    Pod(Change<Pod>),
    Node(Change<Node>),
    /// A claim, volume or class changed.
    Storage,
    BindingFailed(Arc<Pod>),
    Retry(Key),
}

/// Starts the scheduler.
pub fn start(setup: &mut Setup) {
    let watches = setup.watches.clone();
    let (events, received) = mpsc::unbounded_channel();
    let (claims_changed, claims_seen) = watch::channel(0_u64);
    let send = events.clone();
    // The receiver lives as long as the scheduler; after it nobody needs the events.
    watches
        .pods
        .on_change(move |change| drop(send.send(Event::Pod(change.clone()))));
    let send = events.clone();
    watches
        .nodes
        .on_change(move |change| drop(send.send(Event::Node(change.clone()))));
    let send = events.clone();
    watches.claims.on_change(move |_| {
        claims_changed.send_modify(|count| *count += 1);
        drop(send.send(Event::Storage));
    });
    let send = events.clone();
    watches
        .volumes
        .on_change(move |_| drop(send.send(Event::Storage)));
    let send = events.clone();
    watches
        .storage_classes
        .on_change(move |_| drop(send.send(Event::Storage)));

    let binder = Binder {
        writer: control::Writer::new(setup.client(IDENTITY), IDENTITY),
        recorder: control::Recorder::new(setup.client(IDENTITY), NAME),
        watches: watches.clone(),
        claims_changed: claims_seen,
    };
    let scheduler = Scheduler {
        watches: watches.clone(),
        binder: Arc::new(binder),
        allowed: Fallback {
            gpu: setup.config.gpu_fallback,
            memory: setup.config.memory_fallback,
        },
        cluster: Cluster::default(),
        queue: queue::Queue::default(),
        events,
        writes: JoinSet::new(),
        permits: Arc::new(Semaphore::new(WRITES)),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("scheduler", async move {
        watches.nodes.synced().await;
        watches.pods.synced().await;
        watches.claims.synced().await;
        watches.volumes.synced().await;
        watches.storage_classes.synced().await;
        scheduler.run(received, shutdown).await;
    });
}

struct Scheduler {
    watches: Arc<Watches>,
    binder: Arc<Binder>,
    allowed: Fallback,
    cluster: Cluster,
    queue: queue::Queue,
    events: mpsc::UnboundedSender<Event>,
    writes: JoinSet<()>,
    permits: Arc<Semaphore>,
}

impl Scheduler {
    async fn run(
        mut self,
        mut received: mpsc::UnboundedReceiver<Event>,
        shutdown: CancellationToken,
    ) {
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = received.recv() => event,
            };
            let Some(event) = event else { break };
            self.handle(event);
            // All that is known comes before any decision.
            while let Ok(event) = received.try_recv() {
                self.handle(event);
            }
            while let Some((rank, key)) = self.queue.pop() {
                self.schedule(rank, key);
            }
            while self.writes.try_join_next().is_some() {}
        }
        while self.writes.join_next().await.is_some() {}
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Pod(change) => self.pod_changed(&change),
            Event::Node(change) => self.node_changed(&change),
            Event::Storage => self.queue.wake(|_| true),
            Event::BindingFailed(pod) => {
                let key = Key::of(pod.as_ref());
                let current = self.watches.pods.cache().get(&key);
                // A binding whose answer was lost may have come about all the same.
                if current
                    .is_none_or(|held| held.uid() != pod.uid() || !cluster::holds_resources(&held))
                {
                    self.cluster.unplace(&pod);
                }
                self.queue.wake(|_| true);
                let events = self.events.clone();
                self.writes.spawn(async move {
                    tokio::time::sleep(RETRY_AFTER).await;
                    drop(events.send(Event::Retry(key)));
                });
            }
            Event::Retry(key) => {
                if let Some(pod) = self.watches.pods.cache().get(&key)
                    && is_waiting(&pod)
                {
                    self.queue.push(key, priority(&pod));
                }
            }
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        let pod = change.latest();
        let key = Key::of(pod.as_ref());
        match &change.new {
            Some(pod) if cluster::holds_resources(pod) => {
                self.queue.remove(&key);
                let node = crate::pods::state::node(pod).unwrap_or_default().to_owned();
                self.cluster.place(pod.clone(), &node, Fallback::of(pod));
                self.queue.wake(|shape| shape.seeks_pods);
            }
            Some(pod) if is_waiting(pod) => {
                let only_status = change.old.as_ref().is_some_and(|old| {
                    old.spec == pod.spec
                        && old.metadata.labels == pod.metadata.labels
                        && old.uid() == pod.uid()
                });
                if self.cluster.is_placed(pod) || only_status {
                    return;
                }
                // A predecessor of that name may still be counted.
                self.cluster.remove_pod(&key);
                if is_gated(pod) {
                    self.report(pod.clone(), GATED, GATED_TEXT.to_owned());
                } else {
                    self.queue.push(key, priority(pod));
                }
            }
            _ => {
                self.queue.remove(&key);
                if self.cluster.remove_pod(&key) {
                    self.queue.wake(|_| true);
                }
            }
        }
    }

    fn node_changed(&mut self, change: &Change<Node>) {
        match &change.new {
            Some(node) => {
                self.cluster.set_node(node.clone());
                if change.old.as_ref().is_none_or(|old| differs(old, node)) {
                    self.queue.wake(|_| true);
                }
            }
            None => {
                self.cluster.remove_node(&change.latest().name_any());
                self.queue.wake(|_| true);
            }
        }
    }

    fn schedule(&mut self, rank: queue::Rank, key: Key) {
        let Some(pod) = self.watches.pods.cache().get(&key) else {
            return;
        };
        if !is_waiting(&pod) || is_gated(&pod) || self.cluster.is_placed(&pod) {
            return;
        }
        let claims = volumes::claims(&pod, &self.watches);
        let namespaces = |name: &str| {
            let namespace = self.watches.namespaces.cache().find("", name)?;
            Some(namespace.labels().clone())
        };
        let found = claims.as_ref().map_err(Clone::clone);
        let shape = queue::shape(&pod);
        match placement::place(&pod, &self.cluster, found, self.allowed, &namespaces) {
            Ok(placement) => {
                self.cluster
                    .place(pod.clone(), &placement.node, placement.fallback);
                let waiting = claims.map(|claims| claims.waiting).unwrap_or_default();
                self.bind(pod, placement, waiting);
                self.queue.wake_next(&shape);
            }
            Err(failure) => {
                self.report(pod, UNSCHEDULABLE, message::text(&failure));
                self.queue.park(key, rank, shape);
            }
        }
    }

    fn bind(
        &mut self,
        pod: Arc<Pod>,
        placement: placement::Placement,
        waiting: Vec<Arc<k8s_openapi::api::core::v1::PersistentVolumeClaim>>,
    ) {
        let (binder, events) = (self.binder.clone(), self.events.clone());
        // A binding that waits for volumes waits long, and must not keep others from being written.
        let permits = waiting.is_empty().then(|| self.permits.clone());
        self.writes.spawn(async move {
            let _permit = match &permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            if let Err(error) = binder.bind(&pod, &placement, &waiting).await {
                let key = Key::of(pod.as_ref());
                tracing::warn!(object = %key, error = %objects::chain(&error), "binding of {key} failed");
                drop(events.send(Event::BindingFailed(pod)));
            }
        });
    }

    fn report(&mut self, pod: Arc<Pod>, reason: &'static str, message: String) {
        let (binder, permits) = (self.binder.clone(), self.permits.clone());
        self.writes.spawn(async move {
            let _permit = permits.acquire().await.ok();
            if let Err(error) = binder.report(&pod, reason, &message).await {
                let key = Key::of(pod.as_ref());
                tracing::warn!(object = %key, error = %objects::chain(&error), "status of {key} could not be written");
            }
        });
    }
}

/// Whether the pod is ours to give a node.
fn is_waiting(pod: &Pod) -> bool {
    let name = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduler_name.as_deref())
        .unwrap_or(NAME);
    name == NAME && crate::pods::state::node(pod).is_none() && crate::pods::state::is_active(pod)
}

fn is_gated(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.as_ref())
        .is_some_and(|gates| !gates.is_empty())
}

fn priority(pod: &Pod) -> i32 {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.priority)
        .unwrap_or(0)
}

/// Whether a node changed in a way that could let a pod in: heartbeats do not.
fn differs(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| {
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.clone())
    };
    old.metadata.labels != new.metadata.labels
        || old
            .spec
            .as_ref()
            .map(|spec| (&spec.taints, spec.unschedulable))
            != new
                .spec
                .as_ref()
                .map(|spec| (&spec.taints, spec.unschedulable))
        || allocatable(old) != allocatable(new)
}
