//! What the engine asks of whoever runs steps, and what it hears back. Two things implement it: pods in a cluster, and the
//! processes and scripts that tests use.

use super::machine::Outcome;
use super::step::Step;
use crate::run::Run;

/// Something to be done. None of it may block; its result comes as a [`Report`].
#[derive(Clone, Debug)]
pub enum Act {
    /// Run a step; doing it twice must be harmless.
    Launch(Box<Step>),
    /// End a step; it reports its end like any other.
    Stop {
        /// The run.
        run_id: String,
        /// The task.
        task_id: String,
        /// The attempt.
        attempt: u32,
        /// The pod.
        pod: String,
    },
    /// The outcome is stored: what was kept for its sake may go.
    Recorded {
        /// The run.
        run_id: String,
        /// The task.
        task_id: String,
        /// The attempt.
        attempt: u32,
        /// The pod.
        pod: String,
    },
    /// The run was deleted: nothing that was made for it is needed any more.
    Deleted {
        /// The run.
        run_id: String,
    },
    /// The run is final.
    Finished {
        /// The run.
        run: Box<Run>,
    },
}

/// Runs steps.
pub trait Runner: Send + Sync + 'static {
    /// Does it, in the background.
    fn act(&self, act: Act);
}

/// Something that happened to an attempt.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The attempt.
    pub attempt: u32,
    /// The pod.
    pub pod: String,
    /// What happened.
    pub what: What,
}

/// What happened to an attempt.
#[derive(Clone, Debug)]
pub enum What {
    /// Its command began.
    Started {
        /// The pod's uid.
        pod_uid: String,
    },
    /// It cannot begin yet.
    Waiting {
        /// Why, in words.
        message: String,
    },
    /// It ended.
    Ended(Outcome),
}
