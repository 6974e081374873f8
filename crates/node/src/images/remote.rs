//! Images between this machine and registries: when one is pulled, that it is pulled once however many pods ask, and how
//! one of this machine becomes one for others.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::bundle::{self, Layout, Scratch};
use super::catalog::{Resolution, Source};
use super::name::ImageName;
use super::registry::{Credentials, Listener, Progress, Registry};
use super::store::FolderImage;
use super::{Error, Images};

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Only when it is not here.
    IfNotPresent,
    /// Only what is here.
    Never,
}

impl PullPolicy {
    /// As written in a container; the API has filled in what was not.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            _ => Self::IfNotPresent,
        }
    }
}

/// One lock per image that is being pulled.
pub(super) type Pulls = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// Blobs stay this long for other images that have the same layers.
const KEPT_BLOBS: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

impl Images {
    /// Whether a registry is asked before the image is used. Only what came from a registry is looked for there again:
    /// what the owner added, and what is built in, is newer than any registry.
    pub fn must_pull(&self, resolution: &Resolution, policy: PullPolicy) -> Result<bool, Error> {
        match (&resolution.source, policy) {
            (Source::Registry, PullPolicy::Never) => {
                Err(Error::NeverPull(resolution.image.clone()))
            }
            (Source::Registry, _) => Ok(true),
            (Source::Folder { image, .. }, PullPolicy::Always) => Ok(image.manifest.is_some()),
            _ => Ok(false),
        }
    }

    /// Pulls an image into the store. What is here already, with the same digest, is not fetched again.
    pub async fn pull(
        &self,
        name: &ImageName,
        credentials: &Credentials,
        heard: Listener<'_>,
    ) -> Result<FolderImage, Error> {
        let key = name.to_string();
        let lock = {
            let mut pulls = self.inner.pulls.lock().expect("no panic while it is held");
            pulls.retain(|_, lock| Arc::strong_count(lock) > 1);
            pulls.entry(key.clone()).or_default().clone()
        };
        let _alone = lock.lock().await;
        let of_store = |source| Error::Store {
            image: key.clone(),
            source,
        };
        let had = self.inner.folders.find(name).map_err(of_store)?;
        let failed = |source| Error::Pull {
            how: match &had {
                Some((image, _)) if image.manifest.is_some() => {
                    format!("looking for a newer image {key} (imagePullPolicy: Always)")
                }
                _ => format!(
                    "image {key} was not added on this machine (kfctl image add {key} ./FOLDER) and cannot be pulled"
                ),
            },
            source,
        };
        let insecure = &self.inner.config.insecure_registries;
        let registry = Registry::open(name, credentials, insecure, false)
            .await
            .map_err(failed)?;
        let found = registry.manifest().await.map_err(failed)?;
        if let Some((image, _)) = &had
            && image.manifest.as_ref() == Some(&found.1)
        {
            return Ok(image.clone());
        }
        let blobs = &self.inner.blobs;
        let pulled = registry.pull(found, blobs, heard).await.map_err(failed)?;
        heard(Progress::Note("unpacking".to_owned()));
        let (images, name) = (self.clone(), name.clone());
        let unpack = move || {
            let layout = images.inner.blobs.layout();
            let folders = &images.inner.folders;
            folders.add_pulled(&name, layout, &pulled.manifest, &pulled.digest)
        };
        tokio::task::spawn_blocking(unpack)
            .await
            .expect("unpacking does not panic")
            .map_err(of_store)
    }

    /// Removes downloads that no image needed for a day.
    pub fn prune_downloads(&self) -> std::io::Result<()> {
        self.inner.blobs.prune(KEPT_BLOBS)
    }

    /// Makes an OCI image of an image of this machine, in a folder that goes with the scratch.
    pub async fn bundle(
        &self,
        image: &str,
        note: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(Layout, Scratch), Error> {
        let resolution = self.resolve(image)?;
        let prepared = self.prepare(image, &resolution, &[], note).await?;
        let of_bundle = |source| Error::Bundle {
            image: image.to_owned(),
            source,
        };
        let own =
            matches!(resolution.source, Source::Own).then_some(self.inner.config.exe.as_path());
        let environments = self.inner.config.folder.join("environments");
        let content =
            bundle::content_of(image, &prepared, &environments, own).map_err(of_bundle)?;
        let scratch = self
            .inner
            .config
            .folder
            .join("images")
            .join(format!("bundle-{}", uuid::Uuid::new_v4()));
        let scratch = Scratch::new(scratch.clone()).map_err(|source| {
            of_bundle(bundle::Error::Io {
                path: scratch,
                source,
            })
        })?;
        let folder: &Path = scratch.path();
        let made = tokio::task::block_in_place(|| bundle::make(&content, &prepared, folder, note));
        Ok((made.map_err(of_bundle)?, scratch))
    }

    /// Pushes an OCI image under a name.
    pub async fn push(
        &self,
        layout: &Layout,
        to: &ImageName,
        credentials: &Credentials,
        heard: Listener<'_>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Pull {
            how: format!("pushing image {to}"),
            source,
        };
        let insecure = &self.inner.config.insecure_registries;
        let registry = Registry::open(to, credentials, insecure, true)
            .await
            .map_err(failed)?;
        registry.push(layout, heard).await.map_err(failed)
    }
}
