//! Runs as they are stored. The row is the queue: what is not final here is what the engine works on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a run is in its life; the words are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Accepted.
    Pending,
    /// At work.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly, or was stopped.
    Failed,
    /// Being stopped.
    Canceling,
}

impl RunState {
    /// Nothing more happens to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceling => "CANCELING",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Canceling,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStateChange {
    /// The new state.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// gRPC status code.
    pub code: i32,
    /// In words.
    pub message: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// UUID.
    pub id: String,
    /// Empty in single-user mode.
    pub namespace: String,
    /// The experiment that groups it.
    pub experiment_id: String,
    /// What people call it.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// Hidden from the usual lists.
    pub is_archived: bool,
    /// Where it is in its life.
    pub state: RunState,
    /// How it got there.
    pub state_history: Vec<RunStateChange>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was meant to start.
    pub scheduled_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The pipeline it was made from, when it was made by reference.
    pub pipeline_id: String,
    /// The version it was made from, when it was made by reference.
    pub pipeline_version_id: String,
    /// Content key of its documents.
    pub spec_hash: String,
    /// Given parameters.
    pub parameters: Map<String, Value>,
    /// Given artifact root, or empty.
    pub pipeline_root: String,
    /// Given service account, or empty.
    pub service_account: String,
    /// Given plugin settings; `ferroflow.io/mounts` is ours.
    pub plugins_input: Map<String, Value>,
    /// `<pipeline name>-<five random characters>`.
    pub resource_name: String,
    /// Top folders that steps share without declaring a volume.
    pub shared_paths: Vec<String>,
}

impl Run {
    /// Moves to a state, remembering when and why.
    pub fn enter(&mut self, state: RunState, at: Timestamp, error: Option<RunError>) {
        self.state = state;
        if error.is_some() {
            self.error.clone_from(&error);
        }
        self.state_history.push(RunStateChange { state, at, error });
        self.finished_at = state.is_final().then_some(at);
    }
}
