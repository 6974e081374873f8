//! What a pod may see and do. A pod has its own user, network, IPC, UTS and PID namespaces; each container below it its own
//! root, PID and user namespace, and no way to change what was mounted for it. Works for an ordinary user and for root.
//!
//! Everything here runs in the shim, a process with one thread, or in its children.

mod failure;

pub mod ids;
pub mod passing;
pub mod process;
pub mod report;

mod pause;

mod container;
mod devices;
mod host_tree;
mod mount;
mod places;
mod proc;
mod rootfs;
mod user;

mod confine;
mod filter;
mod init;
mod join;
mod privileges;
mod probe;

pub use container::{Start, Stdio, environment, start as start_container};
pub use failure::{Failure, While, check};
pub use join::{Join, start as start_exec};
pub use pause::{Pause, start as start_pause};
pub use probe::{Ability, Refusal, main as probe_main, probe};
pub use rootfs::Plan;
pub use user::Identity;
