//! Pulling: the manifest for this machine, through an index if need be, then configuration and layers side by side.

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AT_ONCE, Blobs, Error, Listener, Progress, Registry};
use crate::images::oci;

/// A manifest whose blobs are all here.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The manifest.
    pub manifest: Value,
    /// Its digest.
    pub digest: String,
}

const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// An index in an index is allowed; deeper ones are a trick.
const DEEPEST_INDEX: u32 = 3;
/// Larger configurations do not exist.
const LARGEST_CONFIG: u64 = 16 << 20;

impl Registry {
    /// The manifest for this machine and its digest.
    pub async fn manifest(&self) -> Result<(Value, String), Error> {
        let mut reference = self.reference.clone();
        for _ in 0..DEEPEST_INDEX {
            let (bytes, _) = self
                .client
                .pull_manifest_raw(
                    &reference,
                    &oci_client::secrets::RegistryAuth::Anonymous,
                    &MANIFESTS,
                )
                .await
                .map_err(|error| self.failed(error))?;
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
            if let Some(wanted) = reference.digest()
                && !wanted.eq_ignore_ascii_case(&digest)
            {
                return Err(Error::Changed {
                    registry: self.name.registry().to_owned(),
                    what: wanted.to_owned(),
                });
            }
            let manifest: Value =
                serde_json::from_slice(&bytes).map_err(|error| self.malformed(&error))?;
            if !manifest["manifests"].is_array() {
                return Ok((manifest, digest));
            }
            let entry = oci::for_this_machine(&manifest).ok_or_else(|| self.other_platform())?;
            let digest = entry["digest"].as_str().unwrap_or_default();
            if oci::sha256_digits(digest).is_none() {
                return Err(self.malformed(&format!("{digest:?} is no sha256 digest")));
            }
            reference = self.reference.clone_with_digest(digest.to_owned());
        }
        Err(self.malformed(&"its indices are nested too deeply"))
    }

    /// Fetches all blobs of a manifest.
    pub async fn pull(
        &self,
        (manifest, digest): (Value, String),
        blobs: &Blobs,
        heard: Listener<'_>,
    ) -> Result<Pulled, Error> {
        let sized = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
            let size = descriptor["size"].as_u64();
            size.map(|size| (digest, size))
                .ok_or_else(|| self.malformed(&"a part has no size"))
        };
        let (config, config_size) = sized(&manifest["config"])?;
        if config_size > LARGEST_CONFIG {
            return Err(self.malformed(&"its configuration is larger than any can be"));
        }
        let layers = manifest["layers"]
            .as_array()
            .ok_or_else(|| self.malformed(&"it lists no layers"))?
            .iter()
            .map(sized)
            .collect::<Result<Vec<_>, _>>()?;
        let path = blobs.fetch(self, &config, config_size, &|_| {}).await?;
        let text = std::fs::read(&path).map_err(|source| Error::Io { path, source })?;
        let settings: Value =
            serde_json::from_slice(&text).map_err(|error| self.malformed(&error))?;
        let is_other =
            |field: &str, here: &str| settings[field].as_str().is_some_and(|it| it != here);
        if is_other("architecture", oci::architecture()) || is_other("os", "linux") {
            return Err(self.other_platform());
        }
        heard(Progress::Total {
            bytes: layers.iter().map(|(_, size)| size).sum(),
            parts: layers.len(),
        });
        let mut fetching = Vec::new();
        for (digest, size) in &layers {
            fetching.push(blobs.fetch(self, digest, *size, heard));
        }
        futures::stream::iter(fetching)
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Pulled { manifest, digest })
    }

    fn malformed(&self, message: &dyn std::fmt::Display) -> Error {
        Error::Malformed {
            image: self.name.to_string(),
            message: message.to_string(),
        }
    }

    fn other_platform(&self) -> Error {
        Error::OtherPlatform {
            image: self.name.to_string(),
            architecture: oci::architecture(),
        }
    }
}
