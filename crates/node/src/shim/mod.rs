//! One shim process per pod: it owns the pod's processes, their output and their exit records, and outlives the server.
//!
//! The server's side is [`Pod`] (this module's `client`); the shim's own side is `monitor`, a single thread around `poll`.
//! What a process may see and do is `crate::sandbox`'s concern; what a pod means to Kubernetes is the kubelet's.

mod spec;

mod client;
mod disk;
mod input;
mod launch;
mod protocol;

mod connection;
mod log;
mod monitor;
mod requests;
mod running;

pub use client::{Attached, Error, Exec, ExecExit, Pod, Records};
pub(crate) use disk::private_dir;
pub use disk::{records, remove};
pub use input::{ExecInput, Terminal};
pub use launch::{Adopted, adopt, start};
pub use monitor::main;
pub use spec::{
    Capabilities, ContainerPhase, ContainerRecord, ContainerSpec, ContainerUsage, ExecSpec,
    HostIds, Isolation, Limits, LogFile, Mount, NodeNamespaces, PodSpec, Root, User,
};
