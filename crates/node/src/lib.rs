//! placeholder

pub mod cgroup;
pub mod dns;
pub mod holder;
pub mod net;
pub mod reexec;
pub mod relay;
pub mod sandbox;
pub mod shim;
