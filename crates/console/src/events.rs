//! One stream of events for a whole page: a browser allows six connections to one place, and a page follows
//! more things than that. `GET /api/events?topic=runs&topic=run/<id>&topic=machine&topic=usage/<namespace>/<pod>&topic=k8s/<path>`
//! multiplexes watches of the pipelines API, of the Kubernetes API, of this machine and of what a pod uses; each event names its topic. Every minute each topic is asked for
//! anew, as the same person, so that a right that was taken away ends the stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::identity::{Person, problem};
use crate::kubernetes;
use crate::router::Door;
use crate::upstream::{self, PIPELINES};
use crate::usage;

/// Topics a page may follow at once.
const TOPIC_LIMIT: usize = 32;
/// How long one watch lasts before its right is asked for again.
const WATCH_LIFE: Duration = Duration::from_secs(60);
/// Pause before a topic that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a page follows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Topic {
    /// Every change of any run.
    Runs,
    /// One run with its steps.
    Run(String),
    /// How busy this machine is.
    Machine,
    /// What a pod uses.
    Usage {
        /// Where it is.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// A list of the Kubernetes API, by path and query.
    Kubernetes(String),
}

impl Topic {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None if text == "runs" => Some(Self::Runs),
            None if text == "machine" => Some(Self::Machine),
            Some(("run", id))
                if !id.is_empty()
                    && id
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                Some(Self::Run(id.to_owned()))
            }
            Some(("usage", place)) => {
                let (namespace, pod) = place.split_once('/')?;
                (is_name(namespace) && is_name(pod)).then(|| Self::Usage {
                    namespace: namespace.to_owned(),
                    pod: pod.to_owned(),
                })
            }
            Some(("k8s", path))
                if (path.starts_with("api/") || path.starts_with("apis/"))
                    && !path.contains("..") =>
            {
                Some(Self::Kubernetes(path.to_owned()))
            }
            _ => None,
        }
    }
}

/// What Kubernetes allows as a name: nothing in it can lead elsewhere in a path.
fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(is_allowed)
}

/// Follows every topic of the query until the page closes the stream.
pub async fn stream(State(door): State<Door>, person: Person, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let names: Vec<String> = form_values(query, "topic");
    if names.is_empty() || names.len() > TOPIC_LIMIT {
        return problem(
            StatusCode::BAD_REQUEST,
            &format!(
                "give 1 to {TOPIC_LIMIT} topics: runs, run/<id>, machine, usage/<namespace>/<pod>, k8s/<path>"
            ),
        );
    }
    let mut topics = Vec::new();
    for name in names {
        match Topic::parse(&name) {
            Some(topic) => topics.push((name, topic)),
            None => {
                return problem(
                    StatusCode::BAD_REQUEST,
                    &format!(
                        "no topic is called {name:?}; there are: runs, run/<id>, machine, usage/<namespace>/<pod>, k8s/<path>"
                    ),
                );
            }
        }
    }
    let (sender, receiver) = mpsc::channel::<Value>(256);
    for (name, topic) in topics {
        let (door, person, sender) = (door.clone(), person.clone(), sender.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = follow(&door, &person, &name, &topic, &sender) => {}
                () = sender.closed() => {}
            }
        });
    }
    let events = tokio_stream::wrappers::ReceiverStream::new(receiver)
        .map(|value| Ok::<_, Infallible>(Event::default().data(value.to_string())));
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response()
}

async fn follow(
    door: &Door,
    person: &Person,
    name: &str,
    topic: &Topic,
    sender: &mpsc::Sender<Value>,
) {
    loop {
        let once = async {
            match topic {
                Topic::Runs => {
                    pipelines(door, person, "/apis/v2beta1/runs:watch", name, sender).await
                }
                Topic::Run(id) => {
                    pipelines(
                        door,
                        person,
                        &format!("/apis/v2beta1/runs/{id}:watch"),
                        name,
                        sender,
                    )
                    .await
                }
                Topic::Machine => {
                    readings(door, name, sender).await;
                    Ok(())
                }
                Topic::Usage { namespace, pod } => {
                    use_of(door, person, (namespace, pod), name, sender).await
                }
                Topic::Kubernetes(path) => watch(door, person, path, name, sender).await,
            }
        };
        let ended = tokio::time::timeout(WATCH_LIFE, once).await;
        if let Ok(Err(failure)) = ended {
            let is_final = matches!(
                failure.0,
                StatusCode::UNAUTHORIZED
                    | StatusCode::FORBIDDEN
                    | StatusCode::NOT_FOUND
                    | StatusCode::BAD_REQUEST
            );
            let said = sender.send(json!({ "topic": name, "type": "ERROR", "code": failure.0.as_u16(), "message": failure.1 })).await;
            if is_final || said.is_err() {
                return;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Why a topic cannot be followed.
pub struct Failure(pub StatusCode, pub String);

impl Failure {
    /// In the words of whoever refused.
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 64 * 1024)
            .await
            .unwrap_or_default();
        let message = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|value| value["message"].as_str().map(str::to_owned));
        Self(status, message.unwrap_or_else(|| status.to_string()))
    }
}

/// Relays the pipelines API's own events under their own names: `run`, `task`, `deleted`, `resync`, …
async fn pipelines(
    door: &Door,
    person: &Person,
    path: &str,
    name: &str,
    sender: &mpsc::Sender<Value>,
) -> Result<(), Failure> {
    let request = Request::builder()
        .uri(path)
        .body(Body::empty())
        .expect("the path is ours and valid");
    let response = upstream::pass(door.config.clone(), PIPELINES, person, request, path).await;
    let mut lines = Lines::of(response).await?;
    if sender
        .send(json!({ "topic": name, "type": "START" }))
        .await
        .is_err()
    {
        return Ok(());
    }
    let mut kind = String::new();
    while let Some(line) = lines.next().await? {
        if let Some(event) = line.strip_prefix("event:") {
            kind = event.trim().to_owned();
        }
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let Ok(object) = serde_json::from_str::<Value>(data.trim()) else {
            continue;
        };
        let event = json!({ "topic": name, "type": kind, "object": object });
        if sender.send(event).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What the meter holds, then each reading as it is taken.
async fn readings(door: &Door, name: &str, sender: &mpsc::Sender<Value>) {
    // Subscribed before reading, so that none falls between.
    let mut fresh = door.meter.follow();
    let whole = json!({ "topic": name, "type": "machine", "object": door.meter.show() });
    if sender.send(whole).await.is_err() {
        return;
    }
    while let Ok(reading) = fresh.recv().await {
        let event = json!({ "topic": name, "type": "reading", "object": reading });
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

/// What a pod uses, a reading at a time.
async fn use_of(
    door: &Door,
    person: &Person,
    (namespace, pod): (&str, &str),
    name: &str,
    sender: &mpsc::Sender<Value>,
) -> Result<(), Failure> {
    let mut reader = usage::Reader::of(namespace, pod);
    let mut turns = tokio::time::interval(usage::EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(reading) = reader.read(door, person).await? else {
            continue;
        };
        let event = json!({ "topic": name, "type": "usage", "object": reading });
        if sender.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Watches a list of the Kubernetes API, beginning with what is there.
async fn watch(
    door: &Door,
    person: &Person,
    path: &str,
    name: &str,
    sender: &mpsc::Sender<Value>,
) -> Result<(), Failure> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let uri = format!(
        "/{path}{separator}watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let builder = Request::builder().uri(uri);
    let response = kubernetes::send(door, person, builder, Vec::new())
        .await
        .unwrap_or_else(|failure| failure);
    let mut lines = Lines::of(response).await?;
    if sender
        .send(json!({ "topic": name, "type": "START" }))
        .await
        .is_err()
    {
        return Ok(());
    }
    while let Some(line) = lines.next().await? {
        let Ok(mut event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        event["topic"] = name.into();
        if sender.send(event).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The lines of a streaming body.
struct Lines {
    body: axum::body::BodyDataStream,
    pending: Vec<u8>,
}

impl Lines {
    /// Longest line that is kept while it is incomplete.
    const LIMIT_BYTES: usize = 8 * 1024 * 1024;

    async fn of(response: Response) -> Result<Self, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(Self {
                body: response.into_body().into_data_stream(),
                pending: Vec::new(),
            });
        }
        Err(Failure::of(response).await)
    }

    async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            match self.body.next().await {
                Some(Ok(chunk)) if self.pending.len() + chunk.len() <= Self::LIMIT_BYTES => {
                    self.pending.extend_from_slice(&chunk)
                }
                Some(Ok(_)) => {
                    return Err(Failure(
                        StatusCode::BAD_GATEWAY,
                        "an event is too large".to_owned(),
                    ));
                }
                Some(Err(error)) => {
                    return Err(Failure(StatusCode::BAD_GATEWAY, error.to_string()));
                }
                None => return Ok(None),
            }
        }
    }
}

/// Every value of one name in a query, decoded.
fn form_values(query: &str, name: &str) -> Vec<String> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_everything_else_is_refused() {
        assert_eq!(Topic::parse("runs"), Some(Topic::Runs));
        assert_eq!(Topic::parse("machine"), Some(Topic::Machine));
        assert_eq!(Topic::parse("run/a-1"), Some(Topic::Run("a-1".into())));
        assert_eq!(
            Topic::parse("usage/kubeflow/a-1"),
            Some(Topic::Usage {
                namespace: "kubeflow".into(),
                pod: "a-1".into()
            })
        );
        for bad in [
            "usage/kubeflow",
            "usage/a/b/c",
            "usage/../b",
            "usage/a/b?c",
            "usage//b",
        ] {
            assert_eq!(Topic::parse(bad), None, "{bad}");
        }
        assert_eq!(
            Topic::parse("k8s/api/v1/pods"),
            Some(Topic::Kubernetes("api/v1/pods".into()))
        );
        for wrong in [
            "",
            "run/",
            "run/../x",
            "k8s/metrics",
            "k8s/api/../metrics",
            "secrets",
        ] {
            assert_eq!(Topic::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn several_topics_come_in_one_query() {
        assert_eq!(
            form_values(
                "topic=runs&x=1&topic=k8s%2Fapi%2Fv1%2Fpods%3Flimit%3D1",
                "topic"
            ),
            ["runs", "k8s/api/v1/pods?limit=1"]
        );
    }
}
