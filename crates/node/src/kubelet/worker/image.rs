//! A container's image, found or pulled and made ready, with every step told in the pod's events.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use objects::chain;

use super::start::{Failure, Job};
use crate::images::name::ImageName;
use crate::images::registry::{Credentials, Progress};
use crate::images::{self, Prepared, PullPolicy};
use crate::kubelet::events::Kind as EventKind;

/// Long downloads say how far they are at this pace.
const BETWEEN_WORDS: Duration = Duration::from_secs(10);

impl Job {
    /// Everything that the container needs of its image.
    pub(super) async fn image(&self) -> Result<Prepared, Failure> {
        let image = self.container.image.clone().unwrap_or_default();
        let failed = |error: images::Error| Failure::Image {
            reason: match error {
                images::Error::Name(_) => "InvalidImageName",
                images::Error::NeverPull(_) => "ErrImageNeverPull",
                _ => "ErrImagePull",
            },
            image: image.clone(),
            message: chain(&error),
        };
        let images = &self.ctx.images;
        let mut resolution = images.resolve(&image).map_err(failed)?;
        let policy = PullPolicy::parse(self.container.image_pull_policy.as_deref());
        let mut pulled = None;
        if images.must_pull(&resolution, policy).map_err(failed)? {
            pulled = Some(self.pull(&image).await.map_err(failed)?);
            resolution = images.resolve(&image).map_err(failed)?;
        }
        let command: Vec<String> = self
            .container
            .command
            .iter()
            .flatten()
            .chain(self.container.args.iter().flatten())
            .cloned()
            .collect();
        let progress = |text: String| self.event(EventKind::Normal, "Pulling", text);
        let prepared = images
            .prepare(&image, &resolution, &command, &progress)
            .await
            .map_err(failed)?;
        let told = pulled.unwrap_or_else(|| prepared.notes.join(". "));
        self.event(EventKind::Normal, "Pulled", told);
        Ok(prepared)
    }

    /// Pulls the image; the sentence that says so.
    async fn pull(&self, image: &str) -> Result<String, images::Error> {
        let name = ImageName::parse(image)?;
        let credentials = self.credentials().await;
        let say = |text: String| self.event(EventKind::Normal, "Pulling", text);
        say(format!("Pulling image \"{image}\""));
        let started = Instant::now();
        let far = Mutex::new((0, 0, started));
        let heard = |progress: Progress| {
            let mut far = far.lock().expect("no panic while it is held");
            let (moved, total, said) = &mut *far;
            match progress {
                Progress::Note(_) => {}
                Progress::Total { bytes, parts } => {
                    *total = bytes;
                    let megabytes = in_megabytes(bytes);
                    say(format!(
                        "Downloading {parts} layers of image \"{image}\", {megabytes}"
                    ));
                }
                Progress::Moved(bytes) => {
                    *moved += bytes;
                    if said.elapsed() >= BETWEEN_WORDS && *moved < *total {
                        *said = Instant::now();
                        let (moved, total) = (in_megabytes(*moved), in_megabytes(*total));
                        say(format!("Downloading image \"{image}\": {moved} of {total}"));
                    }
                }
            }
        };
        let pulled = self.ctx.images.pull(&name, &credentials, &heard).await?;
        Ok(format!(
            "Successfully pulled image \"{image}\" in {:.1} s. Image size: {} bytes.",
            started.elapsed().as_secs_f64(),
            pulled.size_bytes
        ))
    }

    /// What the pod's pull secrets hold. One that is missing or unreadable is told and left out: the image may be public.
    async fn credentials(&self) -> Credentials {
        let mut all = Credentials::default();
        let namespace = self.pod.namespace().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.ctx.client.clone(), &namespace);
        let spec = self.pod.spec.as_ref();
        for reference in spec
            .iter()
            .flat_map(|spec| spec.image_pull_secrets.iter().flatten())
        {
            let name = &reference.name;
            let problem = match secrets.get_opt(name).await {
                Err(error) => chain(&error),
                Ok(None) => "it does not exist".to_owned(),
                Ok(Some(secret)) => {
                    let data = secret.data.unwrap_or_default();
                    let file = data.get(".dockerconfigjson").or(data.get(".dockercfg"));
                    match file.map(|file| Credentials::read(&file.0)) {
                        Some(Ok(credentials)) => {
                            all.extend(credentials);
                            continue;
                        }
                        Some(Err(error)) => error.to_string(),
                        None => "it holds no .dockerconfigjson".to_owned(),
                    }
                }
            };
            self.event(
                EventKind::Warning,
                "FailedToRetrieveImagePullSecret",
                format!("Pull secret {name} is not used: {problem}"),
            );
        }
        all
    }
}

fn in_megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
