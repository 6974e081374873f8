//! Artifacts and what binds them to tasks: the lineage that runs leave behind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ir::component::ArtifactType;

/// Something a task produced or imported. Never changed after it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// UUID.
    pub id: String,
    /// What the producer called it.
    pub name: String,
    /// Its schema.
    #[serde(rename = "type")]
    pub kind: ArtifactType,
    /// Where the object is.
    pub uri: String,
    /// Metadata as the producer left it.
    pub metadata: Map<String, Value>,
    /// A path outside its usual place, when the producer chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_path: Option<String>,
    /// Size of its object when it was recorded; none for an artifact that is only metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

impl Artifact {
    /// The form it has in an ExecutorInput.
    pub fn to_runtime(&self) -> Value {
        let mut runtime =
            json!({"name": self.id, "type": self.kind, "uri": self.uri, "metadata": self.metadata});
        if let Some(path) = &self.custom_path {
            runtime["customPath"] = path.clone().into();
        }
        runtime
    }

    /// The type's name in the native artifact API.
    pub fn api_type(&self) -> &'static str {
        match self.kind.schema_title.as_str() {
            "system.Model" => "Model",
            "system.Dataset" => "Dataset",
            "system.HTML" => "HTML",
            "system.Markdown" => "Markdown",
            "system.Metrics" => "Metric",
            "system.ClassificationMetrics" => "ClassificationMetric",
            "system.SlicedClassificationMetrics" => "SlicedClassificationMetric",
            _ => "Artifact",
        }
    }
}

/// Resolved inputs, or outputs, of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bindings {
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// By name; a single artifact is a list of one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
}
