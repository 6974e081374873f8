//! Component interfaces: declared parameters and artifacts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Declared inputs or outputs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definitions {
    /// By name.
    pub parameters: BTreeMap<String, ParameterSpec>,
    /// By name.
    pub artifacts: BTreeMap<String, ArtifactSpec>,
}

/// One declared parameter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterSpec {
    /// Current spelling of the type.
    pub parameter_type: Option<ParameterType>,
    /// Old spelling: STRING, INT or DOUBLE.
    #[serde(rename = "type")]
    pub old_type: Option<OldParameterType>,
    /// Used when nothing is given.
    pub default_value: Option<Value>,
    /// May be absent.
    pub is_optional: bool,
    /// For people.
    pub description: String,
    /// The only values allowed, when not empty.
    pub literals: Vec<Value>,
}

impl ParameterSpec {
    /// The declared type, whichever way it is spelled; text when it is not declared.
    pub fn kind(&self) -> ParameterType {
        self.parameter_type.unwrap_or(match self.old_type {
            Some(OldParameterType::Int) => ParameterType::NumberInteger,
            Some(OldParameterType::Double) => ParameterType::NumberDouble,
            _ => ParameterType::String,
        })
    }
}

/// JSON types of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ParameterType {
    /// Not said; treated as text.
    ParameterTypeEnumUnspecified,
    /// Any number.
    NumberDouble,
    /// An integral number.
    NumberInteger,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// A mapping.
    Struct,
    /// What an exit task learns of the task it waits for.
    TaskFinalStatus,
    /// Collected pod settings.
    TaskConfig,
}

/// Types as documents of the first schema versions spell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OldParameterType {
    /// Not said.
    PrimitiveTypeUnspecified,
    /// Integral number.
    Int,
    /// Any number.
    Double,
    /// Text.
    String,
}

/// One declared artifact.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactSpec {
    /// What it is.
    pub artifact_type: ArtifactType,
    /// A list of artifacts of that type.
    pub is_artifact_list: bool,
    /// May be absent.
    pub is_optional: bool,
    /// For people.
    pub description: String,
    /// Metadata every produced artifact starts with.
    pub metadata: Map<String, Value>,
}

/// The schema of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactType {
    /// `system.Model`, `google.VertexModel`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema_title: String,
    /// Usually `0.0.1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema_version: String,
    /// YAML text of a JSON schema with a `title`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance_schema: String,
}
