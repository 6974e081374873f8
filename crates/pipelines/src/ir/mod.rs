//! The intermediate representation: what a compiled pipeline says, read strictly and kept exactly.
//!
//! Text becomes [`Document`]s (normalised JSON, what the API gives back) and a [`Pipeline`] (typed, validated, what the
//! engine runs). Every complaint names the field's path. Nothing here knows about runs or storage.

pub mod component;
pub mod condition;
pub mod described;
pub mod document;
pub mod numbers;
pub mod parameter;
pub mod placeholder;
pub mod schema;
pub mod selector;
pub mod spec;
pub mod validate;

pub use document::Document;
pub use spec::{Component, Executor, Spec, Task};

use std::collections::BTreeMap;

use serde_json::Value;

/// A complaint about a document, with the path of the field it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not YAML or JSON.
    #[error("could not read the pipeline document: {0}")]
    Syntax(String),
    /// A legacy document, which this version does not run.
    #[error(
        "this is an Argo Workflow (kfp 1.8) document; Ferroflow runs compiled pipelines of kfp 2 (schemaVersion 2.1.0): compile it with kfp 2.x"
    )]
    Legacy,
    /// A field is wrong.
    #[error("{path}: {problem}")]
    Field {
        /// Dotted path from the document's root.
        path: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Error {
    /// A complaint about one field.
    pub fn field(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// A pipeline that has passed every check.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The typed document.
    pub spec: Spec,
    /// `platforms.kubernetes` of the platform document, or null.
    pub kubernetes: Value,
    /// The normalised documents.
    pub document: Document,
}

impl Pipeline {
    /// Reads text, normalises and validates it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::from_document(Document::parse(text)?)
    }

    /// Validates documents that are JSON already (an API body, the store).
    pub fn from_document(document: Document) -> Result<Self, Error> {
        let spec: Spec = serde_json::from_value(document.pipeline.clone())
            .map_err(|problem| Error::field("pipeline_spec", problem.to_string()))?;
        validate::validate(&spec)?;
        let kubernetes = document
            .platform
            .as_ref()
            .and_then(|platform| platform.pointer("/platforms/kubernetes"))
            .cloned()
            .unwrap_or_default();
        Ok(Self {
            spec,
            kubernetes,
            document,
        })
    }

    /// The component a name refers to; the empty name is the root.
    pub fn component(&self, name: &str) -> Option<&Component> {
        if name.is_empty() {
            Some(&self.spec.root)
        } else {
            self.spec.components.get(name)
        }
    }

    /// The executor behind a label.
    pub fn executor(&self, label: &str) -> Option<&Executor> {
        self.spec.deployment_spec.executors.get(label)
    }

    /// The Kubernetes settings of an executor, or null.
    pub fn platform_of(&self, label: &str) -> &Value {
        static NONE: Value = Value::Null;
        self.kubernetes
            .get("deploymentSpec")
            .and_then(|spec| spec.get("executors"))
            .and_then(|executors| executors.get(label))
            .unwrap_or(&NONE)
    }

    /// The Kubernetes settings of the whole pipeline, or null.
    pub fn platform_config(&self) -> &Value {
        static NONE: Value = Value::Null;
        self.kubernetes.get("pipelineConfig").unwrap_or(&NONE)
    }

    /// The pipeline's parameters.
    pub fn parameters(&self) -> &BTreeMap<String, component::ParameterSpec> {
        &self.spec.root.input_definitions.parameters
    }
}
