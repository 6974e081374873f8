//! Pods on this machine. From the bottom up: the holder keeps the node's network namespace, `net`, `dns` and `relay`
//! serve in it, one shim per pod owns the pod's processes, and the kubelet gives all of it Kubernetes meaning.
//! Knows the API only as `kube::Client`.

pub mod holder;
pub mod net;
pub mod dns;
pub mod relay;
pub mod shim;
pub mod images;
pub mod env;
pub mod volumes;
pub mod probes;
pub mod kubelet;
pub mod builtin;
pub mod http;
