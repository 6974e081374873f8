//! Deletion: at once, or by a timestamp that finalizers and kubelets answer to.

use std::sync::Arc;

use http::StatusCode;
use objects::{FieldError, Status, meta};
use serde_json::{Value, json};

use super::update::Failure;
use super::write::{Action, admit_action, is_released};
use super::{Call, Reply};
use crate::admission::Operation;
use crate::error::ApiError;
use crate::http::body;
use crate::registry::Resource;
use crate::registry::crd;
use crate::store::{Decision, Encoded, Entry};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What the client wants to hold for a deletion.
#[derive(Clone, Debug, Default)]
pub struct Options {
    grace: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    revision: Option<String>,
    is_dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// `DELETE` of an object.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let options = Options::of(call)?;
    let (removed, entry) = delete(call, &call.key(), &options).await?;
    let value = call.resource.value(&entry);
    if removed && !answers_with_object(&call.resource) {
        let (group, plural) = (&call.resource.group, &call.resource.plural);
        let status = Status::deleted(group, plural, &call.name, meta::uid(&value));
        return Ok(Reply::Value(StatusCode::OK, status.to_value()));
    }
    Ok(Reply::object(
        StatusCode::OK,
        &call.resource,
        call.resource.render(&entry),
    ))
}

/// Deletes the object at `key`; answers whether it is gone, and its last state.
pub async fn delete(
    call: &Call,
    key: &str,
    options: &Options,
) -> Result<(bool, Arc<Entry>), ApiError> {
    let mut removed = false;
    let mut before = None;
    let entry = call
        .api
        .store
        .update::<Failure>(call.resource.stored(), key, |entry| {
            before = Some(entry.clone());
            let old = entry.value();
            options.check(call, &old)?;
            admit_action(
                call,
                Action {
                    operation: Operation::Delete,
                    subresource: "",
                    name: meta::name(&old),
                    posted: Value::Null,
                    old: Some(&old),
                },
            )?;
            let mut new = old.clone();
            options.mark(&call.resource, &mut new);
            removed = is_released(&call.resource, &new);
            Ok(match (options.is_dry_run, removed) {
                (true, _) => Decision::Keep,
                (false, true) => Decision::Remove,
                (false, false) if new == old => Decision::Keep,
                (false, false) => Decision::Replace(Encoded::of(new)),
            })
        })
        .await
        .map_err(|failure| failure.into_api(call))?;
    if !options.is_dry_run
        && before
            .as_ref()
            .is_some_and(|before| before.revision != entry.revision)
    {
        call.api
            .after_write(
                &call.resource,
                before.as_ref(),
                (!removed).then_some(&entry),
            )
            .await;
    }
    Ok((removed, entry))
}

impl Options {
    /// Reads the options from the body, or from the query where there is no body.
    pub fn of(call: &Call) -> Result<Self, ApiError> {
        let body = if call.body.is_empty() {
            Value::Null
        } else {
            body::decode(&call.body, body::media_type(&call.headers))?.value
        };
        Self::from_value(call, &body)
    }

    /// Reads the options from a `DeleteOptions` object; what it leaves out may be in the query.
    pub fn from_value(call: &Call, body: &Value) -> Result<Self, ApiError> {
        let refuse = |error: FieldError| {
            ApiError::from(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                vec![error],
            ))
        };
        let grace = match (
            body["gracePeriodSeconds"].as_i64(),
            call.query.number::<i64>("gracePeriodSeconds"),
        ) {
            (Some(grace), _) => Some(grace),
            (None, Some(Ok(grace))) => Some(grace),
            (None, Some(Err(why))) => return Err(ApiError::bad_request(why)),
            (None, None) => None,
        };
        let orphans = body["orphanDependents"].as_bool().or_else(|| {
            call.query
                .get("orphanDependents")
                .map(|text| text == "true" || text == "1")
        });
        let word = body["propagationPolicy"]
            .as_str()
            .or_else(|| call.query.get("propagationPolicy"));
        let propagation = match (word, orphans) {
            (Some(_), Some(_)) => {
                return Err(refuse(FieldError::invalid(
                    "propagationPolicy",
                    word.unwrap_or_default(),
                    "orphanDependents and deletionPropagation cannot be both set",
                )));
            }
            (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some(other), None) => {
                return Err(refuse(FieldError::not_supported(
                    "propagationPolicy",
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                )));
            }
            (None, None) => None,
        };
        let is_dry_run = match &body["dryRun"] {
            Value::Array(words) if !words.is_empty() => {
                if words.iter().any(|word| word != "All") {
                    return Err(refuse(FieldError::not_supported_list(
                        "dryRun",
                        &[words[0].as_str().unwrap_or_default()],
                        &["All"],
                    )));
                }
                true
            }
            _ => call.is_dry_run()?,
        };
        let precondition = |name: &str| body["preconditions"][name].as_str().map(str::to_owned);
        Ok(Self {
            grace,
            propagation,
            uid: precondition("uid"),
            revision: precondition("resourceVersion"),
            is_dry_run,
        })
    }

    /// Whether nothing is to be done.
    pub fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Whether only this very version may be deleted.
    pub fn names_revision(&self) -> bool {
        self.revision.is_some()
    }

    /// Refuses another object than the one that is meant.
    pub fn check(&self, call: &Call, old: &Value) -> Result<(), ApiError> {
        let wrong = |what: &str, wanted: &str, present: &str| -> ApiError {
            let since = match what {
                "UID" => "deleted and then recreated",
                _ => "modified",
            };
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({present}). \
                 The object might have been {since}"
            );
            let kind = &call.resource.kind;
            Status::conflict(&call.resource.group, kind, meta::name(old), &why).into()
        };
        if let Some(uid) = self.uid.as_deref().filter(|uid| *uid != meta::uid(old)) {
            return Err(wrong("UID", uid, meta::uid(old)));
        }
        if let Some(revision) = self
            .revision
            .as_deref()
            .filter(|revision| *revision != meta::resource_version(old))
        {
            return Err(wrong(
                "ResourceVersion",
                revision,
                meta::resource_version(old),
            ));
        }
        Ok(())
    }

    /// Puts on an object what its deletion means for it.
    fn mark(&self, resource: &Resource, object: &mut Value) {
        self.mark_finalizers(resource, object);
        let grace = self.grace(resource, object).max(0);
        match meta::deletion_grace_period_seconds(object) {
            Some(present) if meta::is_being_deleted(object) => {
                // A deletion can be hurried, never put off.
                if grace < present {
                    set_deletion(object, grace, true);
                }
            }
            _ if meta::is_being_deleted(object) => {}
            _ => {
                set_deletion(object, grace, false);
                if meta::generation(object) > 0 {
                    let next = meta::generation(object) + 1;
                    meta::set(object, "generation", next);
                }
                if resource.group.is_empty() && resource.kind == "Namespace" {
                    object["status"]["phase"] = "Terminating".into();
                }
                crd::mark_terminating(resource, object);
            }
        }
    }

    fn mark_finalizers(&self, resource: &Resource, object: &mut Value) {
        if resource.group.is_empty()
            && resource.kind == "Namespace"
            && self.propagation != Some(Propagation::Orphan)
        {
            return;
        }
        let propagation = self.propagation.unwrap_or_else(|| {
            if meta::has_finalizer(object, ORPHAN) {
                Propagation::Orphan
            } else if meta::has_finalizer(object, FOREGROUND) {
                Propagation::Foreground
            } else if matches!(
                (resource.group.as_str(), resource.kind.as_str()),
                ("batch", "Job") | ("", "ReplicationController")
            ) {
                // What these kinds have always meant when nothing is said.
                Propagation::Orphan
            } else {
                Propagation::Background
            }
        });
        meta::remove_finalizer(object, ORPHAN);
        meta::remove_finalizer(object, FOREGROUND);
        match propagation {
            Propagation::Background => {}
            Propagation::Foreground => meta::add_finalizer(object, FOREGROUND),
            Propagation::Orphan => meta::add_finalizer(object, ORPHAN),
        }
    }

    /// Only pods have time to end; one that never reached a node, or has already ended, needs none.
    fn grace(&self, resource: &Resource, object: &Value) -> i64 {
        if !(resource.group.is_empty() && resource.kind == "Pod") {
            return 0;
        }
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        let is_placed = object["spec"]["nodeName"]
            .as_str()
            .is_some_and(|node| !node.is_empty());
        if !is_placed || phase == "Succeeded" || phase == "Failed" {
            return 0;
        }
        self.grace.unwrap_or_else(|| {
            object["spec"]["terminationGracePeriodSeconds"]
                .as_i64()
                .unwrap_or(30)
        })
    }
}

fn set_deletion(object: &mut Value, grace: i64, is_hurried: bool) {
    let mut at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
    if is_hurried
        && let Some(before) =
            meta::deletion_timestamp(object).and_then(|text| text.parse::<jiff::Timestamp>().ok())
    {
        at = at.min(before);
    }
    meta::set(
        object,
        "deletionTimestamp",
        json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    );
    meta::set(object, "deletionGracePeriodSeconds", grace);
}

/// Kinds whose deletion has always answered with the object.
fn answers_with_object(resource: &Resource) -> bool {
    resource.group.is_empty()
        && matches!(
            resource.kind.as_str(),
            "Pod"
                | "Service"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "ServiceAccount"
                | "ResourceQuota"
                | "PodTemplate"
        )
}
