//! Things that go by themselves: finished jobs after their time to live, pods of nodes that no longer exist, pods that
//! were deleted before they had a node, and the oldest ended pods when there are too many.

mod jobs;
mod pods;

use crate::setup::Setup;

/// Starts both controllers.
pub fn start(setup: &mut Setup) {
    jobs::start(setup);
    pods::start(setup);
}
