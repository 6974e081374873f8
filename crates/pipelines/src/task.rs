//! Tasks of a run as they are stored: one row per task of a graph, per loop and per iteration, with its attempts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Bindings;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waits for others, for a slot, or for its next attempt.
    Pending,
    /// Has begun.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended well by the outputs of an earlier task.
    Cached,
    /// Did not run and need not: a condition was false, or something it follows was skipped.
    Skipped,
    /// Ended badly.
    Failed,
    /// Was stopped, or never ran because the run ended first.
    Canceled,
}

impl State {
    /// Nothing more happens to it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// What follows it may run.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }

    /// What follows it must not run.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Cached => "CACHED",
            Self::Skipped => "SKIPPED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// The run's own graph.
    Root,
    /// Runs a container.
    Runtime,
    /// A graph: a nested pipeline, or one iteration of a loop.
    Dag,
    /// One branch of If/Elif/Else.
    ConditionBranch,
    /// If/Elif/Else, or a single If.
    Condition,
    /// Holds one iteration per item.
    Loop,
    /// A graph that an exit task waits for.
    ExitHandler,
    /// Registers an existing object.
    Importer,
}

impl Kind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "ROOT",
            Self::Runtime => "RUNTIME",
            Self::Dag => "DAG",
            Self::ConditionBranch => "CONDITION_BRANCH",
            Self::Condition => "CONDITION",
            Self::Loop => "LOOP",
            Self::ExitHandler => "EXIT_HANDLER",
            Self::Importer => "IMPORTER",
        }
    }
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// The new state.
    pub state: State,
    /// When.
    pub at: Timestamp,
    /// Why, where that is worth saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One pod made for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Number of the attempt, from 0.
    pub number: u32,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid, once known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// When its command began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its outcome was recorded; an attempt without one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Its exit code, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Key of the stored log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// The task whose outputs were taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Follows from run and scope path, so that it is the same after a crash.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The task whose graph this belongs to; none for the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Its key in the graph; `iteration-N` for an iteration.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// `root.a.b`, with iterations as `iteration-N`.
    pub scope_path: String,
    /// What it is.
    pub kind: Kind,
    /// Name of its component; empty for the root.
    pub component: String,
    /// Which iteration it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration_index: Option<usize>,
    /// The items of a loop: values, or indices into the artifact list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Value>>,
    /// Where it is in its life.
    pub state: State,
    /// How it got there.
    pub history: Vec<StateChange>,
    /// Why it is as it is, in words: what it waits for, why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the row was made: its graph began.
    pub created_at: Timestamp,
    /// When its turn came: everything before it had ended. What the wire calls its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Resolved when it begins.
    #[serde(default)]
    pub inputs: Bindings,
    /// Resolved when it ends well.
    #[serde(default)]
    pub outputs: Bindings,
    /// Every pod made for it, the last one current.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// How many of the attempts count against the retry policy.
    #[serde(default)]
    pub retries: u32,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Key under which its result may be reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Where a cached result came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<Origin>,
    /// True when it never ran because something before it failed: runs again when the run is retried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_omitted: bool,
}

impl Task {
    /// Moves to a state, remembering when and why.
    pub fn enter(&mut self, state: State, at: Timestamp, message: Option<String>) {
        self.state = state;
        self.message.clone_from(&message);
        self.history.push(StateChange { state, at, message });
        if state != State::Pending {
            self.ready_at.get_or_insert(at);
        }
        match state {
            State::Running => {
                self.started_at.get_or_insert(at);
                self.ended_at = None;
            }
            State::Pending => self.ended_at = None,
            _ => {
                self.started_at.get_or_insert(at);
                self.ended_at = Some(at);
            }
        }
    }

    /// The attempt that is running or ran last.
    pub fn current_attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The attempt whose outcome is not recorded yet.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts
            .last()
            .filter(|attempt| attempt.ended_at.is_none())
    }

    /// True for tasks made of other tasks.
    pub fn is_composite(&self) -> bool {
        !matches!(self.kind, Kind::Runtime | Kind::Importer)
    }
}
