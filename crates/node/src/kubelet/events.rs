//! Events about pods, as `kubectl describe` shows them. Written in the background, so that no pod waits for them;
//! the same event again raises the count of the first one.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;

use super::record::api_time;

/// Says things about pods. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Said>,
}

/// Whether an event is a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}

#[derive(Debug, Clone)]
struct Said {
    about: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Said and not yet written; beyond this, events are dropped rather than memory grown.
const QUEUE: usize = 1024;
/// Events remembered for counting.
const REMEMBERED: usize = 1024;
/// Longer messages are cut, as the API refuses them.
const LONGEST_MESSAGE: usize = 1024;

impl Recorder {
    /// A recorder, and the work that writes what it hears. The work ends when all recorders are gone.
    pub fn new(client: Client, node: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, said) = mpsc::channel(QUEUE);
        (Self { queue }, write(client, node.to_owned(), said))
    }

    /// Says something about a pod.
    pub fn pod(&self, pod: &Pod, kind: Kind, reason: &'static str, message: impl Into<String>) {
        self.say(about(pod, None), kind, reason, message.into());
    }

    /// Says something about a container.
    pub fn container(
        &self,
        pod: &Pod,
        container: &str,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.say(about(pod, Some(container)), kind, reason, message.into());
    }

    fn say(&self, about: ObjectReference, kind: Kind, reason: &'static str, message: String) {
        let message = message.chars().take(LONGEST_MESSAGE).collect();
        let said = Said {
            about,
            kind,
            reason,
            message,
            at: Timestamp::now(),
        };
        if self.queue.try_send(said).is_err() {
            tracing::warn!(
                reason,
                "an event was dropped because too many are waiting to be written"
            );
        }
    }
}

fn about(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let is_init = container.is_some_and(|name| {
        super::record::init_containers(pod)
            .iter()
            .any(|c| c.name == name)
    });
    let list = if is_init {
        "initContainers"
    } else {
        "containers"
    };
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.namespace(),
        name: Some(pod.name_any()),
        uid: pod.uid(),
        resource_version: pod.resource_version(),
        field_path: container.map(|name| format!("spec.{list}{{{name}}}")),
    }
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    uid: Option<String>,
    field: Option<String>,
    kind: Kind,
    reason: &'static str,
    message: String,
}

async fn write(client: Client, node: String, mut said: mpsc::Receiver<Said>) {
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    let mut order: VecDeque<Key> = VecDeque::new();
    while let Some(event) = said.recv().await {
        let namespace = event
            .about
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into());
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = Key {
            uid: event.about.uid.clone(),
            field: event.about.field_path.clone(),
            kind: event.kind,
            reason: event.reason,
            message: event.message.clone(),
        };
        if let Some((name, count)) = known.get_mut(&key) {
            *count += 1;
            let again = json!({"count": *count, "lastTimestamp": api_time(event.at)});
            if events
                .patch(name, &PatchParams::default(), &Patch::Merge(&again))
                .await
                .is_ok()
            {
                continue;
            }
            // It was removed meanwhile; say it anew.
            known.remove(&key);
            order.retain(|other| *other != key);
        }
        match events
            .create(&PostParams::default(), &object(&event, &namespace, &node))
            .await
        {
            Ok(created) => {
                known.insert(key.clone(), (created.name_any(), 1));
                order.push_back(key);
                if order.len() > REMEMBERED
                    && let Some(oldest) = order.pop_front()
                {
                    known.remove(&oldest);
                }
            }
            // A namespace that is going away takes no more events.
            Err(error) => {
                tracing::debug!(error = %error, reason = event.reason, "writing an event failed")
            }
        }
    }
}

fn object(event: &Said, namespace: &str, node: &str) -> Event {
    let at = api_time(event.at);
    let source = EventSource {
        component: Some("kubelet".into()),
        host: Some(node.to_owned()),
    };
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(format!(
                "{}.{:016x}",
                event.about.name.as_deref().unwrap_or_default(),
                rand::random::<u64>()
            )),
            ..ObjectMeta::default()
        },
        involved_object: event.about.clone(),
        type_: Some(
            if event.kind == Kind::Normal {
                "Normal"
            } else {
                "Warning"
            }
            .into(),
        ),
        reason: Some(event.reason.to_owned()),
        message: Some(event.message.clone()),
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at),
        count: Some(1),
        source: Some(source),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_about_a_container_says_which_list_it_is_in() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]},
        }))
        .expect("a pod");
        assert_eq!(
            about(&pod, Some("i")).field_path.as_deref(),
            Some("spec.initContainers{i}")
        );
        assert_eq!(
            about(&pod, Some("c")).field_path.as_deref(),
            Some("spec.containers{c}")
        );
        assert_eq!(about(&pod, None).field_path, None);
    }
}
