//! Image names: what people write (`train`, `docker.io/library/python:3.11`) in one comparable form.

use std::fmt;

/// A reference to an image, split into its parts; the default registry and its `library/` folder are dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// Registry and path, such as `preprocess` or `quay.io/team/train`.
    pub repository: String,
    /// The tag; `latest` when neither a tag nor a digest is given.
    pub tag: Option<String>,
    /// The digest with its algorithm.
    pub digest: Option<String>,
}

/// A text that is no image name.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0:?} is no image name: use lower-case letters, digits and . _ - / and an optional :tag")]
pub struct InvalidName(pub String);

impl ImageName {
    /// Reads an image name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let path_is_valid = !repository.is_empty()
            && repository.split('/').all(|part| {
                !part.is_empty()
                    && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-:".contains(c))
            });
        let tag_is_valid = tag.as_deref().is_none_or(|tag| {
            !tag.is_empty()
                && tag.len() <= 128
                && tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        });
        let digest_is_valid = digest.as_deref().is_none_or(|digest| {
            digest.split_once(':').is_some_and(|(algorithm, hex)| {
                !algorithm.is_empty()
                    && hex.len() >= 32
                    && hex.chars().all(|c| c.is_ascii_hexdigit())
            })
        });
        if !(path_is_valid && tag_is_valid && digest_is_valid) {
            return Err(invalid());
        }
        let familiar = [
            "docker.io/library/",
            "index.docker.io/library/",
            "docker.io/",
            "index.docker.io/",
            "library/",
        ]
        .iter()
        .find_map(|prefix| repository.strip_prefix(prefix))
        .unwrap_or(repository);
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self {
            repository: familiar.to_owned(),
            tag,
            digest,
        })
    }

    /// The registry's host and port; `docker.io` where the name has none.
    pub fn registry(&self) -> &str {
        match self.repository.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }

    /// Its registry is a program of this very machine.
    pub fn is_on_loopback(&self) -> bool {
        let host = self.registry();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "localhost"
            || host
                .parse::<std::net::Ipv4Addr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The last part of the path: `python` of `quay.io/x/python:3.11`.
    pub fn base(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// The tag, or an empty text for a name by digest alone.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            (0..=left.len())
                .filter(|at| left.is_char_boundary(*at))
                .any(|at| fits(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        ImageName::parse(text).expect("a name").to_string()
    }

    #[test]
    fn equal_images_have_equal_names() {
        for text in [
            "train",
            "train:latest",
            "docker.io/library/train",
            "library/train:latest",
        ] {
            assert_eq!(shown(text), "train:latest", "{text}");
        }
        assert_eq!(shown("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            shown(&format!("python@{digest}")),
            format!("python@{digest}")
        );
    }

    #[test]
    fn a_name_says_which_registry_it_is_of() {
        for (text, registry, is_loopback) in [
            ("train", "docker.io", false),
            ("team/train", "docker.io", false),
            ("quay.io/team/train:1", "quay.io", false),
            ("localhost/train", "localhost", true),
            ("127.0.0.1:5000/train", "127.0.0.1:5000", true),
            ("10.0.0.1:5000/train", "10.0.0.1:5000", false),
        ] {
            let name = ImageName::parse(text).expect("a name");
            assert_eq!(
                (name.registry(), name.is_on_loopback()),
                (registry, is_loopback),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "Train",
            "a//b",
            "../x",
            "a:",
            "a b",
            "a@sha256:xyz",
            "/a",
            "a/..",
            "-a",
        ] {
            assert!(ImageName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(fits("python:3.*", "python:3.11-slim"));
        assert!(fits("*/train:*", "quay.io/x/train:v1"));
        assert!(!fits("python:3.*", "python:2.7"));
        assert!(!fits("train", "train:latest"));
    }
}
