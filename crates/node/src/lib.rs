//! Pods on this machine. From the bottom up: the holder keeps the node's network namespace, `net`, `dns` and `relay`
//! serve in it, one shim per pod owns the pod's processes, and the kubelet gives all of it Kubernetes meaning.
//! Knows the API only as `kube::Client`.

pub mod builtin;
pub mod cgroup;
pub mod dns;
pub mod env;
pub mod holder;
pub mod http;
pub mod images;
pub mod kubelet;
pub mod net;
mod node;
pub mod probes;
pub mod reexec;
pub mod relay;
pub mod sandbox;
pub mod shim;
pub mod volumes;

pub use node::{Config, Dependencies, Dialer, Error, Node, images as images_of};
