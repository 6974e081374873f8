//! From an image name to what stands for it on this machine, first hit wins. Pure: what was added and what the owner
//! configured are handed in.

use std::path::PathBuf;

use super::name::{ImageName, fits};
use super::store::FolderImage;

/// What stands for an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// This very program, sandboxed.
    Own,
    /// A managed Python of this version.
    Python {
        /// `3.11`, or `3` for any.
        wanted: String,
    },
    /// A folder that was added under this name.
    Folder {
        /// What was added.
        image: Box<FolderImage>,
        /// Its content.
        content: PathBuf,
    },
    /// The host's own programs, read-only.
    Host,
    /// An unpacked root file system.
    Root(PathBuf),
    /// Nothing on this machine yet: its registry may have it.
    Registry,
}

/// What stands for an image, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// What.
    pub source: Source,
    /// A sentence for the pod's events.
    pub why: String,
    /// The image's name in full.
    pub image: String,
}

/// Why nothing stands for an image.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Unresolved {
    /// The owner's table sends it to something that does not exist.
    #[error(
        "the node's image table maps {pattern} to {target:?}, which is neither host, python:3.x, root:/PATH nor a known image"
    )]
    BadTarget {
        /// The pattern in the table.
        pattern: String,
        /// What it maps to.
        target: String,
    },
}

/// The repository of our own image.
pub const OWN: &str = "ferroflow/kfctl";

/// Names whose point is a shell and the usual tools.
const SHELLS: [&str; 12] = [
    "alpine",
    "busybox",
    "bash",
    "debian",
    "ubuntu",
    "fedora",
    "centos",
    "rockylinux",
    "almalinux",
    "ubi8",
    "ubi9",
    "ubi-minimal",
];

/// Decides. `added` finds folder images by name; `table` holds the owner's patterns in order.
pub fn resolve(
    name: &ImageName,
    table: &[(String, String)],
    added: &dyn Fn(&ImageName) -> Option<(FolderImage, PathBuf)>,
) -> Result<Resolution, Unresolved> {
    let shown = name.to_string();
    for (pattern, target) in table {
        if fits(pattern, &shown) || *pattern == name.repository {
            let bad = || Unresolved::BadTarget {
                pattern: pattern.clone(),
                target: target.clone(),
            };
            let found = by_target(target, added).ok_or_else(bad)?;
            return Ok(Resolution {
                image: shown.clone(),
                source: found,
                why: format!(
                    "Image \"{shown}\" runs as {target}, as the node's image table says for {pattern}"
                ),
            });
        }
    }
    if let Some((image, content)) = added(name) {
        let why = if image.manifest.is_some() {
            format!(
                "Image \"{shown}\" is as its registry had it on {}",
                image.created_at
            )
        } else {
            let kind = if image.is_root { "archive" } else { "folder" };
            format!(
                "Image \"{shown}\" is the {kind} {} as added on {}",
                image.source.display(),
                image.created_at
            )
        };
        return Ok(Resolution {
            source: Source::Folder {
                image: Box::new(image),
                content,
            },
            why,
            image: shown,
        });
    }
    let pulled = Resolution {
        why: format!("Image \"{shown}\" comes from registry {}", name.registry()),
        source: Source::Registry,
        image: shown.clone(),
    };
    // Whoever has a registry on this machine means what is in it.
    if name.is_on_loopback() {
        return Ok(pulled);
    }
    if name.repository == OWN || name.repository.ends_with(&format!("/{OWN}")) {
        return Ok(Resolution {
            source: Source::Own,
            why: format!("Image \"{shown}\" is this program itself"),
            image: shown,
        });
    }
    if let Some(wanted) = python_version(name) {
        return Ok(Resolution {
            why: format!("Image \"{shown}\" runs as a managed Python {wanted}"),
            image: shown,
            source: Source::Python { wanted },
        });
    }
    if SHELLS.contains(&name.base()) {
        let why = format!("Image \"{shown}\" runs on the host's own shell and tools, read-only");
        return Ok(Resolution {
            source: Source::Host,
            why,
            image: shown,
        });
    }
    Ok(pulled)
}

fn by_target(
    target: &str,
    added: &dyn Fn(&ImageName) -> Option<(FolderImage, PathBuf)>,
) -> Option<Source> {
    if target == "host" {
        return Some(Source::Host);
    }
    if let Some(path) = target.strip_prefix("root:") {
        return path.starts_with('/').then(|| Source::Root(path.into()));
    }
    let name = ImageName::parse(target).ok()?;
    if let Some((image, content)) = added(&name) {
        return Some(Source::Folder {
            image: Box::new(image),
            content,
        });
    }
    python_version(&name).map(|wanted| Source::Python { wanted })
}

/// `3.11` of `python:3.11-slim`, `ubi9/python-311` and their like; `3` where any will do.
fn python_version(name: &ImageName) -> Option<String> {
    let base = name.base();
    if base == "python" {
        let tag = name.tag();
        let version: String = tag
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let mut parts = version.split('.').filter(|part| !part.is_empty());
        return match (parts.next(), parts.next()) {
            (Some("3"), Some(minor)) => Some(format!("3.{minor}")),
            (Some("3"), None) => Some("3".into()),
            // `latest`, `slim`, `alpine`: no version at all.
            (None, _) => Some("3".into()),
            _ => None,
        };
    }
    let digits = base.strip_prefix("python-3")?;
    digits.parse::<u32>().ok().map(|minor| format!("3.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        ImageName::parse(text).expect("a name")
    }

    fn image() -> FolderImage {
        FolderImage {
            digest: "sha256:1".into(),
            source: "/home/me/train".into(),
            requirements: Vec::new(),
            python: None,
            entrypoint: Vec::new(),
            size_bytes: 0,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            is_root: false,
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            user: None,
            manifest: None,
        }
    }

    fn train_is_added(name: &ImageName) -> Option<(FolderImage, PathBuf)> {
        (name.to_string() == "train:latest").then(|| (image(), "/data/images/1".into()))
    }

    fn source(text: &str, table: &[(&str, &str)]) -> Result<Source, Unresolved> {
        let table: Vec<(String, String)> = table
            .iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect();
        resolve(&name(text), &table, &train_is_added).map(|resolution| resolution.source)
    }

    fn python(wanted: &str) -> Result<Source, Unresolved> {
        Ok(Source::Python {
            wanted: wanted.into(),
        })
    }

    #[test]
    fn the_owners_table_comes_before_everything_else() {
        assert_eq!(source("train", &[("train", "host")]), Ok(Source::Host));
        assert_eq!(
            source("pytorch/pytorch:2.5", &[("pytorch/*", "python:3.12")]),
            python("3.12")
        );
        assert!(matches!(
            source("x", &[("x", "train")]),
            Ok(Source::Folder { .. })
        ));
        assert!(matches!(
            source("x", &[("x", "nothing")]),
            Err(Unresolved::BadTarget { .. })
        ));
    }

    #[test]
    fn an_added_folder_comes_before_what_is_built_in() {
        assert!(matches!(
            source("docker.io/library/train", &[]),
            Ok(Source::Folder { .. })
        ));
    }

    #[test]
    fn python_images_of_every_kind_are_a_managed_python() {
        for (text, wanted) in [
            ("python:3.11", "3.11"),
            ("python:3.9-slim-bookworm", "3.9"),
            ("docker.io/library/python:3.12.4", "3.12"),
            ("python", "3"),
            ("python:slim", "3"),
            ("registry.access.redhat.com/ubi9/python-311:latest", "3.11"),
        ] {
            assert_eq!(source(text, &[]), python(wanted), "{text}");
        }
        assert_eq!(source("python:2.7", &[]), Ok(Source::Registry));
    }

    #[test]
    fn our_own_image_is_this_program_and_a_shell_image_the_hosts_shell() {
        assert_eq!(source("ferroflow/kfctl:0.1.0", &[]), Ok(Source::Own));
        assert_eq!(
            source("registry.k8s.io/e2e-test-images/busybox:1.36", &[]),
            Ok(Source::Host)
        );
    }

    #[test]
    fn what_is_not_here_may_be_in_its_registry() {
        for text in [
            "nginx",
            "quay.io/team/nginx:1",
            "localhost:5000/python:3.11",
            "127.0.0.1:5000/alpine",
        ] {
            assert_eq!(source(text, &[]), Ok(Source::Registry), "{text}");
        }
    }
}
