//! How decisions read other objects.
//!
//! Authentication, authorisation and admission never see the store; they see one consistent
//! moment of it through [`Lookup`], which the verbs implement over a snapshot.

use std::sync::Arc;

use serde_json::Value;

/// Objects as they are at one moment.
pub trait Lookup: Send + Sync {
    /// One object, or none. `namespace` is empty for cluster-scoped resources, `group` for the core group.
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// All objects of a resource, in one namespace or, when `namespace` is empty, in all of them.
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>>;

    /// Whether any of [`Self::list`] is meant. `may_be` looks at an object's text first: to read thousands of objects for
    /// the one that mentions a name takes a hundred times as long.
    fn any(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        may_be: &dyn Fn(&str) -> bool,
        is_meant: &dyn Fn(&Value) -> bool,
    ) -> bool {
        let found = self.list(group, resource, namespace);
        found
            .iter()
            .any(|object| may_be(&object.to_string()) && is_meant(object))
    }
}

/// Objects held in a plain list: what tests and dry runs decide against.
#[derive(Debug, Default, Clone)]
pub struct Fixed {
    objects: Vec<(String, String, Arc<Value>)>,
}

impl Fixed {
    /// Adds an object of `group`/`resource`; its namespace and name are read from its metadata.
    pub fn with(mut self, group: &str, resource: &str, object: Value) -> Self {
        self.objects
            .push((group.into(), resource.into(), Arc::new(object)));
        self
    }
}

impl Lookup for Fixed {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.list(group, resource, namespace)
            .into_iter()
            .find(|object| {
                let metadata = &object["metadata"];
                metadata["name"] == name
                    && metadata["namespace"].as_str().unwrap_or("") == namespace
            })
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.objects
            .iter()
            .filter(|(g, r, object)| {
                g == group
                    && r == resource
                    && (namespace.is_empty() || object["metadata"]["namespace"] == namespace)
            })
            .map(|(_, _, object)| object.clone())
            .collect()
    }
}
