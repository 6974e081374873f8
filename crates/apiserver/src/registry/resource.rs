//! The record that drives every verb: names, scope, versions, schema, columns and subresources of one resource in one
//! served version.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use objects::schema::Schema;
use serde_json::Value;

use super::builtin::Builtin;
use super::{fields, schemas};
use crate::registry::crd::Custom;
use crate::store::{Collection, Entry};
use crate::table::Columns;

/// Where a record comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Compiled in.
    Builtin(&'static Builtin),
    /// From a CRD.
    Custom(Arc<Custom>),
}

/// How stored objects become objects of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Only `apiVersion` differs.
    ApiVersion,
    /// Events: stored as `v1`, also served as `events.k8s.io/v1`.
    Events,
    /// Horizontal pod autoscalers: stored as `autoscaling/v2`, also served as `autoscaling/v1`.
    Autoscalers,
}

/// Where a resource keeps its replica counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Path of the wanted count.
    pub spec_replicas: String,
    /// Path of the present count.
    pub status_replicas: String,
    /// Path of the selector (text, or a label selector of a built-in kind).
    pub selector: Option<String>,
}

/// What hangs below an object's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: writes touch only the status.
    Status,
    /// `/scale`.
    Scale(Scale),
    /// Anything that has code of its own, by name and the kind it speaks.
    Named {
        /// The last path segment.
        name: &'static str,
        /// The group, version and kind of its bodies.
        kind: (&'static str, &'static str, &'static str),
        /// The verbs it answers.
        verbs: &'static [&'static str],
    },
}

impl Subresource {
    /// The path segment.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale(_) => "scale",
            Self::Named { name, .. } => name,
        }
    }
}

/// One resource in one served version.
#[derive(Debug)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: String,
    /// Served version.
    pub version: String,
    /// Kind of its objects.
    pub kind: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Path segment.
    pub plural: String,
    /// Word for one object.
    pub singular: String,
    /// Abbreviations that kubectl accepts.
    pub short_names: Vec<String>,
    /// Groups such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Verbs it answers, in discovery's order.
    pub verbs: &'static [&'static str],
    /// What hangs below.
    pub subresources: Vec<Subresource>,
    /// Where its objects are stored, unless it only answers `create`.
    pub collection: Option<Collection>,
    /// `group/version` in which objects are stored.
    pub storage: String,
    /// From the stored version to this one and back.
    pub conversion: Conversion,
    /// kubectl's columns.
    pub columns: Columns,
    /// Whether this version is marked as old, and with which words.
    pub deprecation: Option<String>,
    /// Where the record comes from.
    pub origin: Origin,
    /// Paths that field selectors may name, besides name and namespace.
    pub(super) selectable: Vec<String>,
    /// Whether entries remember the values of exactly these paths.
    pub(super) caches_fields: bool,
    pub(super) schema: OnceLock<Arc<Schema>>,
    pub(super) blank: OnceLock<Value>,
    pub(super) stored_head: OnceLock<Vec<u8>>,
}

impl Resource {
    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `plural.group`, the name used in errors and of a CRD.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The schema, compiled on first use.
    pub fn schema(&self) -> &Arc<Schema> {
        self.schema.get_or_init(|| match &self.origin {
            Origin::Builtin(builtin) => Arc::new(schemas::compile(builtin)),
            Origin::Custom(_) => unreachable!("a CRD's schema is compiled when its record is made"),
        })
    }

    /// What a new object of a built-in kind differs from.
    pub fn blank(&self) -> Option<&Value> {
        matches!(self.origin, Origin::Builtin(_)).then(|| {
            self.blank
                .get_or_init(|| crate::kinds::blank::of(&self.kind))
        })
    }

    /// Whether there is a `/status` and writes to the object leave the status alone.
    pub fn has_status(&self) -> bool {
        self.subresources.contains(&Subresource::Status)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name() == name)
    }

    /// Where objects are stored; only for resources that have a collection.
    pub fn stored(&self) -> &Collection {
        self.collection
            .as_ref()
            .expect("verbs on stored objects are only offered where there is a collection")
    }

    /// The storage key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{namespace}/{name}")
        } else {
            name.to_owned()
        }
    }

    /// The bytes of an entry in this version; stored bytes are shared when they already are.
    pub fn render(&self, entry: &Entry) -> Bytes {
        if self.is_stored_form(&entry.bytes) {
            return entry.bytes.clone();
        }
        serde_json::to_vec(&self.value(entry))
            .expect("a JSON value always serialises")
            .into()
    }

    /// The decoded object of an entry in this version.
    pub fn value(&self, entry: &Entry) -> Value {
        let mut value = entry.value();
        if value["apiVersion"] != self.api_version().as_str() {
            crate::conversion::convert(&mut value, self.conversion, &self.api_version());
        }
        value
    }

    /// Turns an object of this version into what is stored.
    pub fn to_stored(&self, mut value: Value) -> Value {
        if value["apiVersion"] != self.storage.as_str() {
            crate::conversion::convert(&mut value, self.conversion, &self.storage);
        }
        value
    }

    /// Whether stored bytes already are this version's form. Keys are sorted, so `apiVersion` is the first.
    pub fn is_stored_form(&self, bytes: &[u8]) -> bool {
        let head = self
            .stored_head
            .get_or_init(|| format!("{{\"apiVersion\":\"{}\",", self.api_version()).into_bytes());
        bytes.starts_with(head)
    }

    /// The value that a field selector compares at `path`.
    pub fn field_value(&self, entry: &Entry, path: &str) -> String {
        if !self.caches_fields {
            return fields::value(&self.value(entry), &self.origin, path);
        }
        let values = entry.fields(|value| fields::values(value, &self.origin, &self.selectable));
        values
            .iter()
            .find(|(known, _)| known == path)
            .map_or_else(String::new, |(_, value)| value.clone())
    }

    /// Whether a field selector may name this path.
    pub fn is_selectable(&self, path: &str) -> bool {
        path == "metadata.name"
            || (path == "metadata.namespace" && self.namespaced)
            || self.selectable.iter().any(|known| known == path)
    }
}

/// Joins group and version as `apiVersion` has them.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
