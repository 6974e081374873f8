//! What is installed and how: the manifests are the single source, rendered here the way kustomize does,
//! applied with server-side apply under our own field manager, awaited by watching.
//! What the user deleted stays deleted: a version is installed once.

pub mod apply;
pub mod kustomize;
pub mod record;
mod service;
pub mod sources;
pub mod wait;

/// The field manager of everything that is installed.
pub const FIELD_MANAGER: &str = "kfctl";

/// Why an installation stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest that we ship cannot be rendered.
    #[error("render {path}: {cause}")]
    Render {
        /// File below `manifests/`.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The API server refused an object.
    #[error("apply {what}")]
    Apply {
        /// `<kind>/<namespace>/<name>`.
        what: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The installation's own record cannot be read or written.
    #[error("keep the record of what is installed")]
    Record(#[source] Box<kube::Error>),
    /// A component cannot become ready by itself.
    #[error("{component} does not become ready: {cause}")]
    NotReady {
        /// Its Deployment.
        component: String,
        /// What its pods say.
        cause: String,
    },
}
