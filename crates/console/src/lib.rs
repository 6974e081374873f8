//! The front door: signs people in, shows the embedded pages, and leads every path to the service behind it.
//! It acts as the person who signed in, by impersonation, so that the API server's rights decide everything.

pub mod absent;
pub mod accounts;
pub mod events;
pub mod gpus;
pub mod guard;
pub mod identity;
pub mod kubernetes;
pub mod machine;
pub mod pages;
pub mod peer;
pub mod router;
pub mod schema;
pub mod session;
pub mod sign_in;
pub mod upstream;
pub mod usage;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::net::TcpStream;

pub use router::router;

/// Opens a connection to `host:port` inside the cluster.
pub type Dial =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, std::io::Result<TcpStream>> + Send + Sync>;

/// What the console needs from where it runs.
#[derive(Clone)]
pub struct Config {
    /// A client with the console's own identity.
    pub client: kube::Client,
    /// How services are reached.
    pub dial: Dial,
    /// File with the console's own service-account token, renewed by whoever mounts it.
    pub token_file: PathBuf,
    /// Namespace of the platform, where the session key is kept.
    pub namespace: String,
    /// On one machine: the user that connections of the process's owner are. Where there is none, the console has
    /// accounts with passwords.
    pub owner: Option<String>,
    /// Version shown to people.
    pub version: String,
}

/// Why the console cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The session key cannot be read or made.
    #[error("keep the session key in the Secret {name}")]
    SessionKey {
        /// The Secret.
        name: &'static str,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The accounts cannot be read or made.
    #[error("keep the accounts in the Secret {name}")]
    Accounts {
        /// The Secret.
        name: &'static str,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Secret holds something else.
    #[error("the Secret {name} holds nothing that can be used; delete it and a new one is made")]
    UnusableKey {
        /// The Secret.
        name: &'static str,
    },
}
