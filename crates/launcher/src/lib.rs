//! What the engine and the launcher say to each other, as two JSON files on the artifact volume, or, where artifacts lie
//! in an object store, through the Pipelines API (`remote`).
//!
//! The engine writes a [`Step`] before it makes the pod; the launcher, inside the pod, answers with one [`Report`],
//! written beside and renamed, so that it is there whole or not at all. The report decides how the step ended. The
//! launcher knows no Kubernetes and resolves nothing: command and arguments reach it ready to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub mod copy;
pub mod http;
pub mod outputs;
pub mod remote;
pub mod run;

/// The largest output parameter; what is larger belongs in an artifact.
pub const PARAMETER_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// The largest executor output file.
pub const EXECUTOR_OUTPUT_LIMIT_BYTES: u64 = 32 * 1024 * 1024;

/// What the launcher needs to know besides the command that stands after `--`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Folders to make before the command starts.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Declared output parameters: key to the file the command may write.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The file that the KFP executor writes its own account to.
    pub executor_output: String,
    /// Declared output artifacts: key to local path.
    #[serde(default)]
    pub artifacts: BTreeMap<String, String>,
    /// Where the report goes.
    pub report: String,
    /// Artifacts to bring before the command starts, where no volume holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The folder whose files are taken away after it ended, where no volume holds them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outputs: String,
}

/// An artifact that the step reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Where it is kept.
    pub uri: String,
    /// Where the command looks for it.
    pub path: String,
}

/// How the command ended and what it left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Exit code of the command; 128 + n when signal n ended it; 126 and 127 when it could not start.
    pub exit_code: i32,
    /// Why the step failed although, or before, the command said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Text of the output parameter files that exist.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The executor's own account, when it wrote one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_output: Option<serde_json::Value>,
    /// What stands at the declared artifact paths.
    #[serde(default)]
    pub artifacts: BTreeMap<String, Found>,
    /// Seconds since the epoch, with fraction.
    #[serde(default)]
    pub started_at: f64,
    /// Seconds since the epoch, with fraction.
    #[serde(default)]
    pub finished_at: f64,
}

/// What stands at an artifact's path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// True for a folder.
    pub is_directory: bool,
    /// Size of the file, or of all files below the folder.
    pub size_bytes: u64,
}

impl Report {
    /// True when the command succeeded and everything it promised is there.
    pub fn succeeded(&self) -> bool {
        self.exit_code == 0 && self.error.is_none()
    }
}
