//! Who owns whom, as far as watches and owner references tell. Decides nothing about deletion; says which objects are
//! worth a look.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Finalizer of an owner whose dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to stay.
pub const ORPHAN: &str = "orphan";

/// Group and plural of a resource.
pub type ResourceName = (String, String);

/// An object in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its resource.
    pub resource: Option<ResourceName>,
    /// Its namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// Whether it waits for its dependents to go.
    pub deletes_dependents: bool,
    /// Whether its dependents are to be released.
    pub orphans_dependents: bool,
}

/// What deserves a look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Whether this object may still exist.
    Delete(String),
    /// The dependents of this owner are to be released.
    Orphan(String),
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delete(uid) => write!(f, "delete {uid}"),
            Self::Orphan(uid) => write!(f, "orphan {uid}"),
        }
    }
}

/// The graph, by uid.
#[derive(Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// The object of this uid.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name this owner.
    pub fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid.clone(), self.nodes.get(uid)?.clone())))
            .collect()
    }

    /// Takes an object's state; answers what deserves a look because of it.
    pub fn observe(&mut self, resource: &ResourceName, metadata: &ObjectMeta) -> Vec<Look> {
        let Some(uid) = metadata.uid.clone() else {
            return Vec::new();
        };
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        let is_deleted = metadata.deletion_timestamp.is_some();
        let has = |finalizer: &str| is_deleted && finalizers.iter().any(|held| held == finalizer);
        let node = Node {
            resource: Some(resource.clone()),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            owners: metadata.owner_references.clone().unwrap_or_default(),
            is_deleted,
            deletes_dependents: has(FOREGROUND),
            orphans_dependents: has(ORPHAN),
        };
        let old = self.nodes.insert(uid.clone(), node.clone());
        if old.as_ref() == Some(&node) {
            return Vec::new();
        }
        let mut looks = self.relink(
            &uid,
            old.as_ref()
                .map(|old| old.owners.as_slice())
                .unwrap_or_default(),
            &node,
        );
        let newly = |flag: fn(&Node) -> bool| flag(&node) && !old.as_ref().is_some_and(flag);
        if newly(|node| node.deletes_dependents) {
            looks.extend(
                self.dependents
                    .get(&uid)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .map(Look::Delete),
            );
            looks.push(Look::Delete(uid.clone()));
        }
        if newly(|node| node.orphans_dependents) {
            looks.push(Look::Orphan(uid.clone()));
        }
        looks
    }

    /// Moves an object from its old owners to its new ones.
    fn relink(&mut self, uid: &str, old: &[OwnerReference], node: &Node) -> Vec<Look> {
        let mut looks = Vec::new();
        let still = |owner: &OwnerReference| node.owners.iter().find(|held| held.uid == owner.uid);
        for owner in old {
            if still(owner).is_none()
                && let Some(set) = self.dependents.get_mut(&owner.uid)
            {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            // An owner that waits for its dependents may wait for one less now.
            let unblocks = still(owner).is_none_or(|held| {
                held.block_owner_deletion != Some(true) && owner.block_owner_deletion == Some(true)
            });
            if unblocks
                && self
                    .nodes
                    .get(&owner.uid)
                    .is_some_and(|owner| owner.deletes_dependents)
            {
                looks.push(Look::Delete(owner.uid.clone()));
            }
        }
        let mut needs_look = false;
        for owner in &node.owners {
            let is_new = self
                .dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.to_owned());
            if !is_new {
                continue;
            }
            match self.nodes.get(&owner.uid) {
                // Its owner may not exist, or no longer.
                None => needs_look = true,
                Some(held) => {
                    let differs = held.name != owner.name
                        || (!held.namespace.is_empty() && held.namespace != node.namespace);
                    needs_look |= held.deletes_dependents || differs;
                }
            }
        }
        if needs_look || (old.len() > node.owners.len() && !node.owners.is_empty()) {
            looks.push(Look::Delete(uid.to_owned()));
        }
        looks
    }

    /// An object is gone; answers what deserves a look because of it.
    pub fn remove(&mut self, uid: &str) -> Vec<Look> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut looks: Vec<Look> = self
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .map(Look::Delete)
            .collect();
        for owner in &node.owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            if self
                .nodes
                .get(&owner.uid)
                .is_some_and(|owner| owner.deletes_dependents)
            {
                looks.push(Look::Delete(owner.uid.clone()));
            }
        }
        looks
    }

    /// The objects of a resource that a complete list did not name.
    pub fn missing(&self, resource: &ResourceName, listed: &HashSet<String>) -> Vec<String> {
        let of_resource = self
            .nodes
            .iter()
            .filter(|(_, node)| node.resource.as_ref() == Some(resource));
        of_resource
            .map(|(uid, _)| uid)
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pods() -> ResourceName {
        (String::new(), "pods".to_owned())
    }

    fn metadata(uid: &str, change: Value) -> ObjectMeta {
        let mut metadata = json!({"name": uid, "namespace": "ns", "uid": uid});
        for (field, value) in change.as_object().unwrap() {
            metadata[field] = value.clone();
        }
        serde_json::from_value(metadata).unwrap()
    }

    fn owned(uid: &str, owner: &str) -> ObjectMeta {
        metadata(
            uid,
            json!({"ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": owner, "blockOwnerDeletion": true},
            ]}),
        )
    }

    fn foreground(uid: &str) -> ObjectMeta {
        metadata(
            uid,
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]}),
        )
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = Graph::default();
        assert!(
            graph
                .observe(&pods(), &metadata("owner", json!({})))
                .is_empty()
        );
        assert!(
            graph.observe(&pods(), &owned("child", "owner")).is_empty(),
            "its owner exists"
        );
        assert_eq!(graph.remove("owner"), [Look::Delete("child".into())]);
    }

    #[test]
    fn an_object_whose_owner_is_unknown_is_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.observe(&pods(), &owned("child", "nobody")),
            [Look::Delete("child".into())]
        );
        assert!(
            graph.observe(&pods(), &owned("child", "nobody")).is_empty(),
            "once"
        );
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_a_dependent_goes() {
        let mut graph = Graph::default();
        graph.observe(&pods(), &metadata("owner", json!({})));
        graph.observe(&pods(), &owned("child", "owner"));
        let looks = graph.observe(&pods(), &foreground("owner"));
        assert_eq!(
            looks,
            [Look::Delete("child".into()), Look::Delete("owner".into())]
        );
        assert_eq!(graph.remove("child"), [Look::Delete("owner".into())]);
    }

    #[test]
    fn an_owner_that_releases_its_dependents_is_told_apart() {
        let mut graph = Graph::default();
        let owner = metadata(
            "owner",
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [ORPHAN]}),
        );
        assert_eq!(
            graph.observe(&pods(), &owner),
            [Look::Orphan("owner".into())]
        );
    }

    #[test]
    fn what_a_list_does_not_name_is_missing() {
        let mut graph = Graph::default();
        graph.observe(&pods(), &metadata("a", json!({})));
        graph.observe(&pods(), &metadata("b", json!({})));
        assert_eq!(
            graph.missing(&pods(), &HashSet::from(["a".to_owned()])),
            ["b"]
        );
    }
}
