//! Images in registries. What came over the network counts only after its digest was checked; what a registry refuses is
//! told as a cause and a remedy. Where credentials come from is the caller's: a pod's secrets, or the owner's own file.

mod blobs;
pub mod credentials;
mod failure;
mod pull;
mod push;

use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{RegistryOperation, errors::OciDistributionError};

use super::name::ImageName;
pub use blobs::Blobs;
pub use credentials::Credentials;
pub use failure::Error;
pub use pull::Pulled;

/// What goes on while an image is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// What begins, in words.
    Note(String),
    /// So many bytes in so many parts are to be moved.
    Total {
        /// All parts together.
        bytes: u64,
        /// How many.
        parts: usize,
    },
    /// So many bytes more are there.
    Moved(u64),
}

/// Hears what goes on.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// One image's place in its registry.
#[derive(Clone)]
pub struct Registry {
    client: Client,
    reference: Reference,
    name: ImageName,
}

/// Parts that are moved at the same time.
const AT_ONCE: usize = 3;
const LONGEST_CONNECT: std::time::Duration = std::time::Duration::from_secs(10);
const LONGEST_SILENCE: std::time::Duration = std::time::Duration::from_secs(60);

impl Registry {
    /// Signs in where the registry asks for it. Registries on this machine and those in `insecure` are spoken to in plain
    /// HTTP.
    pub async fn open(
        name: &ImageName,
        credentials: &Credentials,
        insecure: &[String],
        will_push: bool,
    ) -> Result<Self, Error> {
        let reference = name
            .to_string()
            .parse::<Reference>()
            .map_err(|error| Error::Refused {
                image: name.to_string(),
                message: error.to_string(),
            })?;
        let host = reference.resolve_registry().to_owned();
        let is_plain = name.is_on_loopback() || insecure.contains(&host);
        // A proxy cannot reach this machine's own programs, whatever the environment says: one that serves no name of
        // this machine takes the place of the usual one.
        let nobody = || {
            name.is_on_loopback()
                .then(|| "http://127.0.0.1:9".to_owned())
        };
        let config = ClientConfig {
            protocol: if is_plain {
                ClientProtocol::HttpsExcept(vec![host.clone()])
            } else {
                ClientProtocol::Https
            },
            use_monolithic_push: true,
            connect_timeout: Some(LONGEST_CONNECT),
            read_timeout: Some(LONGEST_SILENCE),
            user_agent: concat!("ferroflow/", env!("CARGO_PKG_VERSION")),
            http_proxy: nobody(),
            https_proxy: nobody(),
            no_proxy: name
                .is_on_loopback()
                .then(|| "localhost,127.0.0.0/8".to_owned()),
            ..ClientConfig::default()
        };
        let registry = Self {
            client: Client::try_from(config).map_err(|error| failure::of(name, error))?,
            reference,
            name: name.clone(),
        };
        let auth = match credentials.find(name) {
            Some(login) => RegistryAuth::Basic(login.username, login.password),
            None => RegistryAuth::Anonymous,
        };
        let operations: &[RegistryOperation] = if will_push {
            &[RegistryOperation::Push, RegistryOperation::Pull]
        } else {
            &[RegistryOperation::Pull]
        };
        for operation in operations {
            registry
                .client
                .auth(&registry.reference, &auth, *operation)
                .await
                .map_err(|error| registry.failed(error))?;
        }
        Ok(registry)
    }

    fn failed(&self, error: OciDistributionError) -> Error {
        failure::of(&self.name, error)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
