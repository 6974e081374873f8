//! Watches: a cursor into the ring of a collection plus a filter. Changes that leave the selection read as deletions,
//! changes that enter it as additions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use objects::Status;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::selection::Selection;
use super::{Call, Reply, list};
use crate::error::ApiError;
use crate::http::accept::Shape;
use crate::registry::Resource;
use crate::store::ring::frame;
use crate::store::snapshot::range;
use crate::store::{Entry, Error, Event, EventKind, Map};
use crate::table;

/// Events handed out per look into the ring.
const BATCH: usize = 256;
/// Quiet watches tell where they are this often.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Annotation of the bookmark that ends the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// `GET ?watch`.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let selection = Selection::of(call)?;
    let start = Start::of(call)?;
    let timeout = match call.query.number::<u64>("timeoutSeconds") {
        None | Some(Ok(0)) => Duration::from_secs(rand::random_range(1800..3600)),
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(why)) => return Err(ApiError::bad_request(why)),
    };
    if let Start::After(revision)
    | Start::Initial {
        at_least: revision, ..
    } = start
    {
        list::await_revision(call, revision).await?;
    }
    // "From now on" means from the request, not from when its first event is read.
    let start = if start == Start::Now {
        Start::After(call.api.store.published())
    } else {
        start
    };
    let watcher = Watcher {
        api: call.api.clone(),
        resource: call.resource.clone(),
        selection,
        prefix: if call.namespace.is_empty() || !call.resource.namespaced {
            String::new()
        } else {
            format!("{}/", call.namespace)
        },
        sends_bookmarks: call.query.flag("allowWatchBookmarks"),
        encoder: Encoder {
            shape: call.accept.shape,
            version: call.accept.version,
            columns_sent: false,
        },
        generation: call.registry.generation,
    };
    let body = axum::body::Body::from_stream(watcher.stream(start, Instant::now() + timeout));
    let response = http::Response::builder()
        .status(StatusCode::OK)
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "no-cache, private")
        .body(body)
        .map_err(ApiError::internal)?;
    Ok(Reply::Response(Box::new(response)))
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the first change after this revision.
    After(u64),
    /// With the present state, no older than a revision; marked at its end when the client asked for that.
    Initial { at_least: u64, marks_end: bool },
    /// With the first change from now on.
    Now,
}

impl Start {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let revision = call
            .query
            .get("resourceVersion")
            .map(list::parse_revision)
            .transpose()?;
        let matching = call.query.get("resourceVersionMatch");
        let forbidden = |why: &str| {
            let error = objects::FieldError::forbidden("resourceVersionMatch", why);
            ApiError::from(Status::invalid(
                "meta.k8s.io",
                "ListOptions",
                "",
                vec![error],
            ))
        };
        match call.query.get("sendInitialEvents") {
            None if matching.is_some() => Err(forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            None => Ok(match revision {
                None | Some(0) => Self::Initial {
                    at_least: 0,
                    marks_end: false,
                },
                Some(revision) => Self::After(revision),
            }),
            Some(_) if matching != Some("NotOlderThan") => Err(forbidden(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
            Some("true" | "1") => Ok(Self::Initial {
                at_least: revision.unwrap_or(0),
                marks_end: true,
            }),
            Some(_) => Ok(match revision {
                None | Some(0) => Self::Now,
                Some(revision) => Self::After(revision),
            }),
        }
    }
}

struct Watcher {
    api: Arc<crate::api::Api>,
    resource: Arc<Resource>,
    selection: Selection,
    prefix: String,
    sends_bookmarks: bool,
    encoder: Encoder,
    /// Of the registry in which the resource was last seen.
    generation: u64,
}

impl Watcher {
    fn stream(
        mut self,
        start: Start,
        deadline: Instant,
    ) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
        async_stream::stream! {
            let collection = self.resource.stored().clone();
            let mut woken = collection.ring.subscribe();
            let mut cursor = match start {
                Start::After(revision) => revision,
                Start::Now => unreachable!("turned into a revision when the request came in"),
                Start::Initial { marks_end, .. } => {
                    let snapshot = self.api.store.snapshot();
                    let revision = snapshot.revision;
                    for chunk in self.initial(snapshot.map(collection.id)) {
                        yield Ok(chunk);
                    }
                    if marks_end && self.sends_bookmarks {
                        yield Ok(self.bookmark(revision, true));
                    }
                    revision
                }
            };
            if let Err(err) = self.api.store.can_resume(&collection, cursor) {
                yield Ok(error_line(err));
                return;
            }
            let mut bookmarked = Instant::now();
            let shutdown = self.api.shutdown.clone();
            loop {
                woken.borrow_and_update();
                // Read before the ring, so that a bookmark never runs ahead of an event.
                let published = self.api.store.published();
                let events = match collection.ring.after(cursor, BATCH) {
                    Ok(events) => events,
                    Err(err) => {
                        yield Ok(error_line(err));
                        return;
                    }
                };
                if let Some(last) = events.last() {
                    cursor = last.revision();
                    let mut lines: Vec<Bytes> = events.iter().filter_map(|event| self.line(event)).collect();
                    match lines.len() {
                        0 => {}
                        1 => yield Ok(lines.remove(0)),
                        _ => yield Ok(lines.concat().into()),
                    }
                    continue;
                }
                cursor = cursor.max(published);
                let is_over = Instant::now() >= deadline || shutdown.is_cancelled() || !self.is_served();
                if self.sends_bookmarks && (is_over || bookmarked.elapsed() >= BOOKMARK_EVERY) {
                    bookmarked = Instant::now();
                    yield Ok(self.bookmark(cursor, false));
                }
                if is_over {
                    return;
                }
                let pause = deadline.min(bookmarked + BOOKMARK_EVERY);
                tokio::select! {
                    changed = woken.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep_until(pause) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
    }

    /// Whether the resource still exists; a CRD may be removed under its watchers.
    fn is_served(&mut self) -> bool {
        let registry = self.api.registry.load();
        if registry.generation == self.generation {
            return true;
        }
        self.generation = registry.generation;
        let resource = &self.resource;
        registry
            .find(&resource.group, &resource.version, &resource.plural)
            .is_some()
    }

    /// The present state as additions, in chunks.
    fn initial(&mut self, map: &Map) -> Vec<Bytes> {
        let prefix = self.prefix.clone();
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for (key, entry) in range(map, &prefix, "") {
            if self.selection.matches(&self.resource, key, entry) {
                let object = self.encoder.object(&self.resource, entry);
                chunk.extend_from_slice(&frame("ADDED", &object));
            }
            if chunk.len() > 64 << 10 {
                chunks.push(std::mem::take(&mut chunk).into());
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk.into());
        }
        chunks
    }

    /// What this watcher sees of an event, if anything.
    fn line(&mut self, event: &Event) -> Option<Bytes> {
        if !event.key.starts_with(&self.prefix) {
            return None;
        }
        let kind = if self.selection.is_everything() {
            event.kind
        } else {
            let selected =
                |entry: &Entry| self.selection.matches(&self.resource, &event.key, entry);
            let is_selected = selected(&event.entry);
            match event.kind {
                EventKind::Added | EventKind::Deleted if is_selected => event.kind,
                EventKind::Added | EventKind::Deleted => return None,
                EventKind::Modified => match (event.before.as_deref().map(selected), is_selected) {
                    (Some(true), true) => EventKind::Modified,
                    (Some(false), true) => EventKind::Added,
                    (Some(true), false) => return Some(self.left(event)),
                    (Some(false), false) => return None,
                    // The state before is no longer known: both words tell a client the truth about the present.
                    (None, true) => EventKind::Modified,
                    (None, false) => EventKind::Deleted,
                },
            }
        };
        if kind == event.kind
            && self.encoder.is_plain()
            && self.resource.is_stored_form(&event.entry.bytes)
        {
            return Some(event.line());
        }
        Some(frame(
            kind.as_str(),
            &self.encoder.object(&self.resource, &event.entry),
        ))
    }

    /// A change out of the selection: the object as it was selected, at the revision of the change.
    fn left(&mut self, event: &Event) -> Bytes {
        let before = event.before.as_deref().unwrap_or(&event.entry);
        let mut value = self.resource.value(before);
        objects::meta::set(&mut value, "resourceVersion", event.revision().to_string());
        frame("DELETED", &self.encoder.value(&self.resource, value))
    }

    fn bookmark(&self, revision: u64, ends_initial: bool) -> Bytes {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({ INITIAL_END: "true" });
        }
        let object = match self.encoder.shape {
            Shape::Object => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Shape::Table => json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{}", self.encoder.version),
                "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": null,
                "rows": [{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}],
            }),
            Shape::Partial | Shape::PartialList => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{}", self.encoder.version),
                "metadata": metadata,
            }),
        };
        frame("BOOKMARK", object.to_string().as_bytes())
    }
}

/// How this watcher wants objects.
struct Encoder {
    shape: Shape,
    version: &'static str,
    columns_sent: bool,
}

impl Encoder {
    fn is_plain(&self) -> bool {
        self.shape == Shape::Object
    }

    fn object(&mut self, resource: &Resource, entry: &Entry) -> Bytes {
        if self.is_plain() {
            resource.render(entry)
        } else {
            self.value(resource, resource.value(entry))
        }
    }

    fn value(&mut self, resource: &Resource, value: Value) -> Bytes {
        let shaped = match self.shape {
            Shape::Object => value,
            Shape::Table => {
                let with_columns = !std::mem::replace(&mut self.columns_sent, true);
                let revision = objects::meta::resource_version(&value).to_owned();
                table::render(
                    resource,
                    &[value],
                    table::Options {
                        version: self.version,
                        ..Default::default()
                    },
                )
                .with_revision(&revision)
                .with_columns(with_columns)
                .into_value()
            }
            Shape::Partial | Shape::PartialList => table::partial(&value, self.version),
        };
        serde_json::to_vec(&shaped)
            .expect("a JSON value always serialises")
            .into()
    }
}

/// The event that ends a watch with a failure.
fn error_line(err: Error) -> Bytes {
    let status = ApiError::from(err);
    frame("ERROR", status.to_value().to_string().as_bytes())
}
