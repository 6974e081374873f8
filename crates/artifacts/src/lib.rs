//! Where artifacts live: URIs, keys that cannot leave their root, and the stores behind them.
//!
//! An artifact URI names a bucket and a key; a [`Store`] holds one bucket, either as a folder of this machine or as
//! an object store. What an artifact means (types, lineage, metadata) is left to the crates that own it.

pub mod key;
pub mod local;
pub mod store;
pub mod uri;

pub use key::Key;
pub use local::LocalStore;
pub use store::{Store, Stores};
pub use uri::Uri;

/// What can go wrong between a URI and its bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not an artifact URI.
    #[error("artifact uri {uri:?} is malformed: {reason}")]
    Uri {
        /// The text as given.
        uri: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key would leave its store or cannot be a path.
    #[error("artifact key {key:?} is refused: {reason}")]
    Key {
        /// The text as given.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No store is configured for the bucket.
    #[error(
        "no artifact store holds {0}: this installation keeps artifacts under minio://mlpipeline"
    )]
    NoStore(String),
    /// Nothing is stored under the key.
    #[error("artifact {0} does not exist")]
    NotFound(String),
    /// The file system refused.
    #[error("could not {action} artifact {key}")]
    Io {
        /// The verb.
        action: &'static str,
        /// The key it was done to.
        key: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The object store refused.
    #[error("could not {action} artifact {key} in its object store")]
    Object {
        /// The verb.
        action: &'static str,
        /// The key it was done to.
        key: String,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
}
