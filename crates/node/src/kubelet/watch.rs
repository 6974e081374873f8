//! Watches the pods bound to this node and keeps one worker per pod. Folders of pods that no longer exist are cleared
//! once the first list is complete.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::worker::{Message, Worker};
use crate::shim::{self, Adopted};

/// The kubelet: start it with [`Kubelet::run`].
pub struct Kubelet {
    ctx: Arc<Context>,
}

/// A running kubelet.
#[derive(Debug, Clone)]
pub struct Running {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Drain {
        built_in: bool,
        done: oneshot::Sender<()>,
    },
}

impl Running {
    /// Ends pods because the node stops: first everybody else's, then our own components. Returns when they have ended.
    pub async fn drain(&self) {
        for built_in in [false, true] {
            let (done, ended) = oneshot::channel();
            if self
                .orders
                .send(Order::Drain { built_in, done })
                .await
                .is_err()
            {
                return;
            }
            let _ = ended.await;
        }
    }
}

impl Kubelet {
    /// A kubelet over its context.
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx }
    }

    /// The handle and the work behind it. The work ends at `shutdown`; pods live on in their shims.
    pub fn run(self, shutdown: CancellationToken) -> (Running, impl Future<Output = ()> + Send) {
        let (orders, received) = mpsc::channel(4);
        (Running { orders }, watch(self.ctx, received, shutdown))
    }
}

struct Workers {
    ctx: Arc<Context>,
    by_uid: HashMap<String, Handle>,
    tasks: JoinSet<String>,
}

struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    is_built_in: bool,
}

async fn watch(ctx: Arc<Context>, mut orders: mpsc::Receiver<Order>, shutdown: CancellationToken) {
    let api: Api<Pod> = Api::all(ctx.client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", ctx.node.name));
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut workers = Workers {
        ctx: ctx.clone(),
        by_uid: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let mut listed: BTreeSet<String> = BTreeSet::new();
    let mut is_first_list = true;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(order) = orders.recv() => {
                match order {
                    Order::Drain { built_in, done } => {
                        workers.drain(built_in).await;
                        let _ = done.send(());
                    }
                }
                continue;
            }
            Some(ended) = workers.tasks.join_next() => {
                if let Ok(uid) = ended {
                    workers.by_uid.remove(&uid);
                }
                continue;
            }
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(pod))) => {
                listed.extend(pod.uid());
                workers.apply(pod);
            }
            Some(Ok(watcher::Event::InitDone)) => {
                workers.gone_except(&listed);
                if is_first_list {
                    is_first_list = false;
                    clear_orphans(&ctx, &listed).await;
                }
            }
            Some(Ok(watcher::Event::Apply(pod))) => workers.apply(pod),
            Some(Ok(watcher::Event::Delete(pod))) => {
                if let Some(handle) = pod.uid().and_then(|uid| workers.by_uid.get(&uid)) {
                    let _ = handle.messages.send(Message::Gone);
                }
            }
            Some(Err(error)) => tracing::debug!(error = %error, "watching pods was interrupted"),
        }
    }
}

impl Workers {
    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        let pod = Arc::new(pod);
        if let Some(handle) = self.by_uid.get(&uid)
            && handle.messages.send(Message::Pod(pod.clone())).is_ok()
        {
            return;
        }
        let is_built_in = self.ctx.is_built_in(&pod);
        tracing::debug!(pod = pod.name_any(), "taken up");
        let (messages, received) = mpsc::unbounded_channel();
        let worker = Worker::new(self.ctx.clone(), pod, messages.clone(), received);
        let own_uid = uid.clone();
        self.tasks.spawn(async move {
            worker.run().await;
            own_uid
        });
        self.by_uid.insert(
            uid,
            Handle {
                messages,
                is_built_in,
            },
        );
    }

    /// Pods that were there before the watch broke and are not any more.
    fn gone_except(&self, listed: &BTreeSet<String>) {
        for (uid, handle) in &self.by_uid {
            if !listed.contains(uid) {
                let _ = handle.messages.send(Message::Gone);
            }
        }
    }

    async fn drain(&mut self, built_in: bool) {
        let mut waiting = Vec::new();
        for handle in self
            .by_uid
            .values()
            .filter(|handle| handle.is_built_in == built_in)
        {
            let (done, ended) = oneshot::channel();
            if handle.messages.send(Message::Drain(done)).is_ok() {
                waiting.push(ended);
            }
        }
        let all = futures::future::join_all(waiting);
        let _ = tokio::time::timeout(LONGEST_DRAIN, all).await;
    }
}

/// A pod that has not ended by then is left to its shim.
const LONGEST_DRAIN: Duration = Duration::from_secs(45);

/// Ends what is left of pods that were deleted while no server ran.
async fn clear_orphans(ctx: &Context, living: &BTreeSet<String>) {
    for (uid, folder) in ctx.folders.all() {
        if living.contains(&uid) {
            continue;
        }
        if let Ok(Adopted::Alive(pod)) = shim::adopt(&folder.shim())
            && let Err(error) = pod.shutdown().await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                pod.uid = uid,
                "ending an orphaned pod failed"
            );
            continue;
        }
        if let (Some(network), Some(std::net::IpAddr::V4(ip))) = (
            &ctx.network,
            folder.read(&uid).and_then(|record| record.pod_ip),
        ) {
            let _ = network.detach_pod(ip).await;
            network.release(ip);
        }
        if let Err(error) = folder.remove() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                pod.uid = uid,
                "removing an orphaned pod's folder failed"
            );
        }
    }
}
