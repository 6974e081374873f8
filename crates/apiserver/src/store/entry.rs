//! One stored object: its bytes, its revision, and what selectors ask of it, read from the bytes on first use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// A stored object; immutable and shared by snapshots, rings and answers.
#[derive(Debug)]
pub struct Entry {
    /// Revision of the last write.
    pub revision: u64,
    /// The object as it is served in its storage version.
    pub bytes: Bytes,
    labels: OnceLock<Labels>,
    fields: OnceLock<Vec<(String, String)>>,
    decoded: OnceLock<Arc<Value>>,
}

impl Entry {
    /// An entry of `bytes`, which already carry `revision`.
    pub fn new(revision: u64, bytes: Bytes) -> Self {
        Self {
            revision,
            bytes,
            labels: OnceLock::new(),
            fields: OnceLock::new(),
            decoded: OnceLock::new(),
        }
    }

    /// The object, decoded.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The object, decoded once and kept; for small objects that many requests look at.
    pub fn kept_value(&self) -> &Arc<Value> {
        self.decoded.get_or_init(|| Arc::new(self.value()))
    }

    /// The object's labels.
    pub fn labels(&self) -> &Labels {
        self.labels.get_or_init(|| {
            serde_json::from_slice::<OnlyLabels<'_>>(&self.bytes)
                .ok()
                .and_then(|object| object.metadata)
                .and_then(|metadata| metadata.labels)
                .map(|labels| {
                    labels
                        .into_iter()
                        .map(|(key, value)| (key.into_owned(), value.into_owned()))
                        .collect()
                })
                .unwrap_or_default()
        })
    }

    /// The field-selector values of the object, extracted once by `extract`.
    pub fn fields(
        &self,
        extract: impl FnOnce(&Value) -> Vec<(String, String)>,
    ) -> &[(String, String)] {
        self.fields.get_or_init(|| extract(&self.value()))
    }
}

#[derive(Deserialize)]
struct OnlyLabels<'a> {
    #[serde(borrow)]
    metadata: Option<LabelsInMetadata<'a>>,
}

#[derive(Deserialize)]
struct LabelsInMetadata<'a> {
    #[serde(borrow)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}
