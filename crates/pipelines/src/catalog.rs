//! Pipelines, their versions, and experiments as they are stored.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A named pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineRecord {
    /// UUID.
    pub id: String,
    /// Empty when shared, and in single-user mode.
    pub namespace: String,
    /// Unique per namespace.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One version of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRecord {
    /// UUID.
    pub id: String,
    /// Its pipeline.
    pub pipeline_id: String,
    /// Unique per pipeline.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Where its source is.
    pub code_source_url: String,
    /// Where its document was fetched from.
    pub package_url: String,
    /// Content key of its documents.
    pub spec_hash: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A group of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// UUID.
    pub id: String,
    /// Empty in single-user mode.
    pub namespace: String,
    /// Unique per namespace.
    pub name: String,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Hidden from the usual lists.
    pub is_archived: bool,
    /// When its latest run was made.
    pub last_run_created_at: Option<Timestamp>,
}
