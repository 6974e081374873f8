//! `kfctl image pull|load|push|export`: images to and from registries and archives, with bars on a terminal.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use node::images::bundle;
use node::images::name::ImageName;
use node::images::registry::Progress;
use node::images::store::NewImage;

use super::image::short;
use crate::cli::{Image, ImageExport, ImagePull, ImagePush};
use crate::{platform, registry_login, text};

/// Adds the registry of this command to those spoken to without TLS, where the user says so.
pub fn allow_insecure(settings: &mut node::Config, command: &Image) -> Result<()> {
    let (name, access) = match command {
        Image::Pull(args) => (args.name.clone(), &args.access),
        Image::Push(args) => (target_name(args)?.to_string(), &args.access),
        _ => return Ok(()),
    };
    if access.insecure {
        let name = ImageName::parse(&name)?;
        settings
            .insecure_registries
            .push(name.registry().to_owned());
    }
    Ok(())
}

/// `kfctl image pull`.
pub fn pull(images: &node::images::Images, args: &ImagePull) -> Result<()> {
    let name = ImageName::parse(&args.name)?;
    let credentials = registry_login::credentials(&name, &args.access)?;
    let bar = Bar::new(format!("pulling {name}"));
    let pulled = platform::block_on(async {
        Ok(images
            .pull(&name, &credentials, &|progress| bar.hear(progress))
            .await?)
    });
    bar.finish();
    let image = pulled?;
    let digest = image.manifest.as_deref().unwrap_or(&image.digest);
    println!("{name}  {digest}  {}", text::bytes(image.size_bytes));
    Ok(())
}

/// `kfctl image load`.
pub fn load(images: &node::images::Images, file: &Path, name: Option<&str>) -> Result<()> {
    if !file.exists() {
        bail!("there is no archive {}", file.display());
    }
    let (name, image) = images.folders().add(&NewImage {
        name: name.unwrap_or_default().to_owned(),
        folder: file.to_owned(),
        ..NewImage::default()
    })?;
    println!(
        "{name}  {}  {} from {}",
        short(&image.digest),
        text::bytes(image.size_bytes),
        file.display()
    );
    Ok(())
}

/// `kfctl image push`. Answers the name that the image got.
pub fn push(images: &node::images::Images, args: &ImagePush) -> Result<ImageName> {
    let target = target_name(args)?;
    let credentials = registry_login::credentials(&target, &args.access)?;
    let bar = Bar::new(format!("making an image of {}", args.name));
    let pushed = platform::block_on(async {
        let note = |line: String| bar.hear(Progress::Note(line));
        let (layout, _scratch) = images.bundle(&args.name, &note).await?;
        bar.hear(Progress::Note(format!("pushing {target}")));
        images
            .push(&layout, &target, &credentials, &|progress| {
                bar.hear(progress)
            })
            .await?;
        Ok(layout)
    });
    bar.finish();
    let layout = pushed?;
    let size = text::bytes(layout.size_bytes());
    println!(
        "{target}  {}  {size} in {} layers",
        layout.digest,
        layout.layers().len()
    );
    Ok(target)
}

/// `kfctl image export`.
pub fn export(images: &node::images::Images, args: &ImageExport) -> Result<()> {
    let name = ImageName::parse(args.as_name.as_deref().unwrap_or(&args.name))?;
    let bar = Bar::new(format!("making an image of {}", args.name));
    let written = platform::block_on(async {
        let note = |line: String| bar.hear(Progress::Note(line));
        let (layout, _scratch) = images.bundle(&args.name, &note).await?;
        bundle::write_archive(&layout, &name, &args.oci)
            .with_context(|| format!("write {}", args.oci.display()))?;
        Ok(layout)
    });
    bar.finish();
    let layout = written?;
    let size = text::bytes(layout.size_bytes());
    println!(
        "{name}  {}  {size} in {}",
        layout.digest,
        args.oci.display()
    );
    Ok(())
}

/// The name that an image is pushed under.
fn target_name(args: &ImagePush) -> Result<ImageName> {
    let own = ImageName::parse(&args.name)?;
    let text = match args.target.strip_suffix('/') {
        Some(registry) => format!("{registry}/{}:{}", own.repository, own.tag()),
        None => args.target.clone(),
    };
    if is_a_registry_alone(&text) {
        bail!("{text} is a registry without a name in it; write {text}/{own}");
    }
    let target = ImageName::parse(&text)?;
    if target.digest.is_some() {
        bail!("{text} has a digest; an image is pushed under a tag, and its digest follows");
    }
    Ok(target)
}

/// Whether a target is a host, with or without a port, and no name behind it.
fn is_a_registry_alone(target: &str) -> bool {
    let (host, port) = target.split_once(':').unwrap_or((target, ""));
    let is_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    !target.contains('/')
        && (host == "localhost" || host.contains('.'))
        && (port.is_empty() || is_port)
}

/// One bar for one image: a spinner until its size is known. Says nothing where nobody watches.
struct Bar {
    bar: ProgressBar,
    is_counting: Mutex<bool>,
}

impl Bar {
    fn new(message: String) -> Self {
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.enable_steady_tick(std::time::Duration::from_millis(80));
        Self {
            bar,
            is_counting: Mutex::new(false),
        }
    }

    fn hear(&self, progress: Progress) {
        let mut is_counting = self.is_counting.lock().expect("no panic while it is held");
        match progress {
            Progress::Note(line) => self.bar.set_message(line),
            Progress::Total { bytes, parts } => {
                *is_counting = true;
                let form = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                if let Ok(style) = ProgressStyle::with_template(form) {
                    self.bar.set_style(style.progress_chars("=> "));
                }
                self.bar.set_length(bytes);
                self.bar
                    .set_message(format!("{} ({parts} parts)", self.bar.message()));
            }
            Progress::Moved(bytes) if *is_counting => self.bar.inc(bytes),
            Progress::Moved(_) => {}
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RegistryAccess;

    fn target(name: &str, target: &str) -> Result<String> {
        let args = ImagePush {
            name: name.into(),
            target: target.into(),
            access: RegistryAccess {
                username: None,
                password_stdin: false,
                insecure: false,
            },
        };
        target_name(&args).map(|name| name.to_string())
    }

    #[test]
    fn an_image_keeps_its_name_in_a_registry_unless_it_gets_another() -> Result<()> {
        assert_eq!(
            target("train:1", "r.example.org/team/")?,
            "r.example.org/team/train:1"
        );
        assert_eq!(
            target("train", "r.example.org:5000/x:2")?,
            "r.example.org:5000/x:2"
        );
        let error = target("train", "r.example.org")
            .expect_err("no name")
            .to_string();
        assert!(error.contains("r.example.org/train:latest"), "{error}");
        assert!(
            target(
                "train",
                &format!("r.example.org/x@sha256:{}", "a".repeat(64))
            )
            .is_err()
        );
        Ok(())
    }
}
