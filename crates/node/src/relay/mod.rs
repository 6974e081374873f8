//! TCP that leaves the cluster: accepted in the node's network, dialled from the host's. Refuses whatever would let
//! a pod in where only the owner of the process may go. Name resolution and proxies are others' concern.

mod policy;

pub use policy::{Attempt, Refusal, Rule};
