//! The history of a template as ControllerRevisions, by which stateful and daemon sets tell old pods from new and can
//! be rolled back.

use std::sync::Arc;

use control::{Informer, Key, Writer, owners, write};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::template::template_hash;

/// The label on a pod that names its revision.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// An owner of revisions.
pub struct Owner<'a> {
    /// Its namespace.
    pub namespace: String,
    /// Its reference.
    pub reference: OwnerReference,
    /// Labels of its selector, which its revisions carry.
    pub labels: Value,
    /// Its template.
    pub template: &'a Value,
    /// Name clashes so far.
    pub collisions: Option<i32>,
}

/// What a revision records: a patch that sets the template to what it was.
fn data(template: &Value) -> Value {
    let mut template = template.clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The template that a revision records.
pub fn template_of(revision: &ControllerRevision) -> Option<Value> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

/// The revisions of an owner, oldest first.
pub fn history(
    informer: &Informer<ControllerRevision>,
    owner_uid: &str,
) -> Vec<Arc<ControllerRevision>> {
    let mut history = informer.cache().controlled_by(owner_uid);
    history.sort_by_key(|revision| {
        (
            revision.revision,
            revision.creation_timestamp(),
            revision.name_any(),
        )
    });
    history
}

/// What to do so that the newest revision is the template's.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// It is.
    Keep(Arc<ControllerRevision>),
    /// An older one is, and is to become the newest with this number.
    Renumber(Arc<ControllerRevision>, i64),
    /// There is none: create this.
    Create(Value),
}

/// Plans the update revision.
pub fn plan(owner: &Owner<'_>, history: &[Arc<ControllerRevision>]) -> Plan {
    let wanted = data(owner.template);
    let next = history.last().map_or(0, |last| last.revision) + 1;
    let same = history
        .iter()
        .rev()
        .find(|revision| revision.data.as_ref().is_some_and(|held| held.0 == wanted));
    match same {
        Some(held) if held.revision + 1 == next => Plan::Keep(held.clone()),
        Some(held) => Plan::Renumber(held.clone(), next),
        None => {
            let hash = template_hash(owner.template, owner.collisions);
            let mut labels = owner.labels.clone();
            labels["controller.kubernetes.io/hash"] = hash.clone().into();
            Plan::Create(json!({
                "metadata": {
                    "name": format!("{}-{hash}", owner.reference.name),
                    "labels": labels,
                    "ownerReferences": [owner.reference],
                },
                "data": wanted,
                "revision": next,
            }))
        }
    }
}

/// Carries the plan out; answers the update revision. `None` after a name clash, for the next try to use another name.
pub async fn ensure(
    writer: &Writer,
    informer: &Informer<ControllerRevision>,
    owner: &Owner<'_>,
    history: &[Arc<ControllerRevision>],
) -> kube::Result<Option<Arc<ControllerRevision>>> {
    let written = match plan(owner, history) {
        Plan::Keep(held) => return Ok(Some(held)),
        Plan::Renumber(held, number) => {
            writer
                .patch::<ControllerRevision>(&Key::of(held.as_ref()), json!({"revision": number}))
                .await?
        }
        Plan::Create(body) => match writer
            .create::<ControllerRevision>(&owner.namespace, body)
            .await
        {
            Ok(created) => created,
            Err(error) if write::is_already_exists(&error) => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    informer.note(written.clone());
    Ok(Some(Arc::new(written)))
}

/// Deletes the oldest revisions beyond a limit that nothing uses.
pub async fn truncate(
    writer: &Writer,
    informer: &Informer<ControllerRevision>,
    history: &[Arc<ControllerRevision>],
    is_used: impl Fn(&str) -> bool,
    limit: i32,
) -> kube::Result<()> {
    let unused: Vec<_> = history
        .iter()
        .filter(|revision| !is_used(&revision.name_any()))
        .collect();
    let surplus = unused
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in unused.into_iter().take(surplus) {
        writer.delete(revision.as_ref(), None).await?;
        informer.note_gone(revision.as_ref().clone());
    }
    Ok(())
}

/// The labels a selector asks for by equality.
pub fn selector_labels(
    selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
) -> Value {
    json!(selector.match_labels.clone().unwrap_or_default())
}

/// Wakes the owner of a changed revision.
pub fn owner_key(revision: &ControllerRevision, kind: &str) -> Option<Key> {
    let owner = owners::controller_of(revision).filter(|owner| owner.kind == kind)?;
    Some(Key::new(
        revision.namespace().unwrap_or_default(),
        owner.name.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(template: &Value) -> Owner<'_> {
        Owner {
            namespace: "ns".into(),
            reference: OwnerReference {
                name: "db".into(),
                uid: "u".into(),
                ..Default::default()
            },
            labels: json!({"app": "db"}),
            template,
            collisions: Some(0),
        }
    }

    fn stored(body: &Value) -> Arc<ControllerRevision> {
        Arc::new(serde_json::from_value(body.clone()).unwrap())
    }

    #[test]
    fn a_template_is_recorded_once_and_found_again() {
        let template = json!({"spec": {"containers": [{"image": "db:1"}]}});
        let Plan::Create(body) = plan(&owner(&template), &[]) else {
            panic!("it is created")
        };
        assert_eq!(
            (
                body["revision"].as_i64(),
                body["metadata"]["labels"]["app"].as_str()
            ),
            (Some(1), Some("db"))
        );
        let held = stored(&body);
        assert_eq!(template_of(&held), Some(template.clone()));
        assert_eq!(
            plan(&owner(&template), std::slice::from_ref(&held)),
            Plan::Keep(held)
        );
    }

    #[test]
    fn going_back_to_an_old_template_makes_its_revision_the_newest() {
        let (first, second) = (json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}));
        let Plan::Create(body) = plan(&owner(&first), &[]) else {
            panic!("it is created")
        };
        let one = stored(&body);
        let Plan::Create(body) = plan(&owner(&second), std::slice::from_ref(&one)) else {
            panic!("it is created")
        };
        let history = [one.clone(), stored(&body)];
        assert_eq!(plan(&owner(&first), &history), Plan::Renumber(one, 3));
    }
}
