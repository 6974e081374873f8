//! Kubeflow Pipelines: documents, the run engine, its store and the REST API, as one component.
//!
//! It knows the cluster only through `kube::Client`. A run's state is in the store before any pod is made, so a crash
//! at any point resumes. What runs in a step's pod is left to the `launcher` crate, where bytes lie to `artifacts`.

pub mod api;
pub mod artifact;
pub mod catalog;
pub mod engine;
pub mod ir;
pub mod launcher_file;
pub mod pods;
pub mod run;
pub mod serve;
pub mod stamped_log;
pub mod store;
pub mod task;

pub use serve::{Config, Database, ObjectStore, serve};
