//! What an API server needs to know at start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::admission;
use crate::backend::Backend;
use crate::store::Durability;
use crate::tls::Names;

/// Configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the database and the keys.
    pub data_dir: PathBuf,
    /// How much of the last second a power cut may take.
    pub durability: Durability,
    /// How nodes, pods and Services are reached.
    pub backend: Backend,
    /// Names and addresses that the serving certificate is for, besides the usual ones.
    pub names: Names,
    /// Who may mark Deployments as built in.
    pub admission: admission::Config,
    /// Where pods find this server behind the Service `kubernetes`.
    pub advertise: SocketAddr,
}

impl Config {
    /// The defaults for a server that keeps its data in `data_dir`.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durability: Durability::default(),
            backend: Backend::default(),
            names: Names::default(),
            admission: admission::Config::default(),
            advertise: SocketAddr::from(([127, 0, 0, 1], 7443)),
        }
    }
}
