//! Routes of the old UI server that other tools call.

pub mod artifact;
pub mod pod_logs;
