//! Who is woken when an object that others own changes: the owner that it names, before and now; where it names none, those
//! who would adopt it. The controllers decide what to do about it.

use std::fmt::Debug;
use std::sync::Arc;

use control::{Informer, Key, Queue, owners};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Wakes owners of `kind` when their objects change, and `adopters` of an object that has no owner.
pub fn owners_of<K>(
    objects: &Informer<K>,
    queue: &Arc<Queue<Key>>,
    kind: &'static str,
    adopters: impl Fn(&str, &K) -> Vec<Key> + Send + Sync + 'static,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let wake = queue.clone();
    objects.on_change(move |change| {
        for side in change.sides() {
            let object = side.as_ref();
            let namespace = object.namespace().unwrap_or_default();
            match owners::controller_of(object) {
                Some(owner) if owner.kind == kind => {
                    wake.add(Key::new(namespace, owner.name.clone()));
                }
                Some(_) => {}
                // What is gone cannot be adopted.
                None if change.new.is_none() => {}
                None => adopters(&namespace, object)
                    .into_iter()
                    .for_each(|key| wake.add(key)),
            }
        }
    });
}

/// For objects that are never adopted.
pub fn nobody<K>(_: &str, _: &K) -> Vec<Key> {
    Vec::new()
}

/// Wakes each object of a kind when it changes itself.
pub fn themselves<K>(objects: &Informer<K>, queue: &Arc<Queue<Key>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let wake = queue.clone();
    objects.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
}
