//! Where artifacts live: URIs, keys that cannot leave their root, and the stores behind them.
//!
//! An artifact URI names a bucket and a key; a [`Store`] holds one bucket, either as a folder of this machine or as
//! an object store. What an artifact means (types, lineage, metadata) is left to the crates that own it.

pub mod key;
pub mod local;
mod object;
pub mod s3;
pub mod store;
pub mod uri;

pub use key::Key;
pub use local::LocalStore;
pub use store::{Chunks, Entry, Stat, Store, Stores};
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
    #[error("no artifact store holds {bucket}: this installation keeps artifacts under {kept}")]
    NoStore {
        /// The bucket.
        bucket: String,
        /// Where artifacts are kept instead.
        kept: String,
    },
    /// The bucket itself cannot be used.
    #[error("could not {action} the bucket {bucket} at {server}; {remedy}")]
    Bucket {
        /// The verb.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// The server it should be on.
        server: String,
        /// What helps.
        remedy: &'static str,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// Fewer or more bytes came than were announced.
    #[error("artifact {0} did not come whole: its size is not the one that was announced")]
    Size(String),
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
