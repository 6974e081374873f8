//! Events about objects, written in the background: repeats of one text raise its count instead of making new events,
//! and a flood is dropped rather than slowing a controller down.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;

/// Events that may wait to be written.
const WAITING: usize = 4096;
/// Texts whose repeats are recognised.
const REMEMBERED: usize = 4096;
/// The longest message that the API takes.
const LONGEST_MESSAGE: usize = 1024;

/// Whether an event tells of ordinary life or of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

struct Report {
    about: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Records events of one component.
#[derive(Clone)]
pub struct Recorder {
    reports: mpsc::Sender<Report>,
}

impl Recorder {
    /// A recorder whose events name `component` as their source. Its writer ends when all clones are dropped.
    pub fn new(client: Client, component: &str) -> Self {
        let (reports, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write_all(client, component.to_owned(), waiting));
        Self { reports }
    }

    /// Records an event about an object.
    pub fn record(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let report = Report {
            about: about.clone(),
            severity,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        // A writer that has ended belongs to a process that is ending too.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.reports.try_send(report) {
            tracing::debug!(reason, "event dropped, too many are waiting to be written");
        }
    }

    /// Records a `Normal` event about an object.
    pub fn normal<K>(&self, about: &K, reason: &str, message: impl Into<String>)
    where
        K: Resource,
        K::DynamicType: Default,
    {
        self.record(&reference(about), Severity::Normal, reason, message);
    }

    /// Records a `Warning` event about an object.
    pub fn warning<K>(&self, about: &K, reason: &str, message: impl Into<String>)
    where
        K: Resource,
        K::DynamicType: Default,
    {
        self.record(&reference(about), Severity::Warning, reason, message);
    }
}

/// The reference by which an event names an object.
pub fn reference<K>(object: &K) -> ObjectReference
where
    K: Resource,
    K::DynamicType: Default,
{
    let kind = K::DynamicType::default();
    ObjectReference {
        api_version: Some(K::api_version(&kind).into_owned()),
        kind: Some(K::kind(&kind).into_owned()),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

/// What makes two reports one event.
type Text = (String, Severity, String, String);

struct Written {
    namespace: String,
    name: String,
    count: i32,
}

#[derive(Default)]
struct Memory {
    written: HashMap<Text, Written>,
    order: VecDeque<Text>,
}

impl Memory {
    fn repeat(&mut self, text: &Text) -> Option<&Written> {
        let written = self.written.get_mut(text)?;
        written.count += 1;
        Some(written)
    }

    fn remember(&mut self, text: Text, namespace: String, name: String) {
        if self
            .written
            .insert(
                text.clone(),
                Written {
                    namespace,
                    name,
                    count: 1,
                },
            )
            .is_none()
        {
            self.order.push_back(text);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
    }
}

async fn write_all(client: Client, component: String, mut waiting: mpsc::Receiver<Report>) {
    let mut memory = Memory::default();
    while let Some(report) = waiting.recv().await {
        if let Err(error) = write(&client, &component, report, &mut memory).await {
            tracing::debug!(component, error = %objects::chain(&error), "an event could not be written");
        }
    }
}

async fn write(
    client: &Client,
    component: &str,
    report: Report,
    memory: &mut Memory,
) -> kube::Result<()> {
    let uid = report.about.uid.clone().unwrap_or_default();
    let text = (
        uid,
        report.severity,
        report.reason.clone(),
        report.message.clone(),
    );
    if let Some(written) = memory.repeat(&text) {
        let api: Api<Event> = Api::namespaced(client.clone(), &written.namespace);
        let patch = json!({"count": written.count, "lastTimestamp": Time(report.at)});
        match api
            .patch(&written.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => return Ok(()),
            // Expired meanwhile: written anew below.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let event = build(component, &report);
    let (namespace, name) = (event.namespace().unwrap_or_default(), event.name_any());
    Api::<Event>::namespaced(client.clone(), &namespace)
        .create(&PostParams::default(), &event)
        .await?;
    memory.remember(text, namespace, name);
    Ok(())
}

fn build(component: &str, report: &Report) -> Event {
    let namespace = report
        .about
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let about = report.about.name.as_deref().unwrap_or("unknown");
    let mut message = report.message.clone();
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE - 3));
        message.push_str("...");
    }
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace),
            // The time in nanoseconds tells events about one object apart, as everywhere in Kubernetes.
            name: Some(format!("{about}.{:x}", report.at.as_nanosecond())),
            ..Default::default()
        },
        involved_object: report.about.clone(),
        type_: Some(report.severity.as_str().to_owned()),
        reason: Some(report.reason.clone()),
        message: Some(message),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            host: None,
        }),
        reporting_component: Some(component.to_owned()),
        first_timestamp: Some(Time(report.at)),
        last_timestamp: Some(Time(report.at)),
        count: Some(1),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Report {
        Report {
            about: ObjectReference {
                name: Some("p".into()),
                namespace: Some("ns".into()),
                ..Default::default()
            },
            severity: Severity::Warning,
            reason: "Failed".into(),
            message: message.into(),
            at: Timestamp::from_second(1).unwrap(),
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_at_a_character() {
        let event = build("test", &report(&"ä".repeat(2000)));
        let message = event.message.unwrap();
        assert!(message.len() <= LONGEST_MESSAGE && message.ends_with("ä..."));
        assert_eq!(event.metadata.namespace.as_deref(), Some("ns"));
    }

    #[test]
    fn a_repeated_text_counts_up_and_a_new_one_does_not() {
        let mut memory = Memory::default();
        let text = |message: &str| {
            (
                "uid".to_owned(),
                Severity::Normal,
                "R".to_owned(),
                message.to_owned(),
            )
        };
        assert!(memory.repeat(&text("a")).is_none());
        memory.remember(text("a"), "ns".into(), "p.1".into());
        assert_eq!(memory.repeat(&text("a")).unwrap().count, 2);
        assert!(memory.repeat(&text("b")).is_none());
    }
}
