//! Artifact URIs: `scheme://bucket/key`, and the local path the KFP executor derives from each.

use std::fmt;

use crate::{Error, Key};

/// The bucket that this installation's own artifacts live in, under the scheme that KFP clients expect.
pub const DEFAULT_BUCKET: &str = "minio://mlpipeline";
/// The pipeline root of runs that name none.
pub const DEFAULT_ROOT: &str = "minio://mlpipeline/v2/artifacts";

/// One artifact's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    /// `minio`, `s3`, `gs`, `oci`, `http`, …
    pub scheme: String,
    /// The bucket or host.
    pub bucket: String,
    /// The path below the bucket, possibly empty; a query string is not part of it.
    pub path: String,
}

impl Uri {
    /// Reads `scheme://bucket/path?query`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Uri {
            uri: text.chars().take(200).collect(),
            reason,
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it has no scheme"))?;
        if scheme.is_empty()
            || !scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        {
            return Err(refuse("its scheme is not one"));
        }
        let rest = rest.split('?').next().unwrap_or(rest);
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() && scheme != "file" {
            return Err(refuse("it names no bucket"));
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            bucket: bucket.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// `scheme://bucket`.
    pub fn bucket_uri(&self) -> String {
        format!("{}://{}", self.scheme, self.bucket)
    }

    /// The key below the bucket.
    pub fn key(&self) -> Result<Key, Error> {
        Key::parse(&self.path)
    }

    /// Where the KFP executor of every SDK version looks for this artifact inside the step.
    pub fn local_path(&self) -> String {
        match self.scheme.as_str() {
            "gs" => format!("/gcs/{}/{}", self.bucket, self.path),
            "minio" | "s3" => format!("/{}/{}/{}", self.scheme, self.bucket, self.path),
            "oci" => format!(
                "/oci/{}",
                format!("{}/{}", self.bucket, self.path).replace('/', "_")
            ),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.bucket)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        Ok(())
    }
}

/// The path inside a step for any URI text; what is no URI is its own path.
pub fn local_path(uri: &str) -> String {
    match Uri::parse(uri) {
        Ok(parsed) if matches!(parsed.scheme.as_str(), "gs" | "minio" | "s3" | "oci") => {
            parsed.local_path()
        }
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_splits_into_bucket_and_key_without_its_query() {
        let uri = Uri::parse("s3://bucket/a/b?region=x&endpoint=y").unwrap();
        assert_eq!((uri.bucket.as_str(), uri.path.as_str()), ("bucket", "a/b"));
        assert_eq!(uri.to_string(), "s3://bucket/a/b");
    }

    #[test]
    fn the_local_path_is_the_one_the_python_executor_uses() {
        assert_eq!(local_path("gs://b/x"), "/gcs/b/x");
        assert_eq!(local_path("minio://b/x/y"), "/minio/b/x/y");
        assert_eq!(local_path("oci://host/img:1"), "/oci/host_img:1");
        assert_eq!(local_path("/data/x"), "/data/x");
        assert_eq!(local_path("http://h/x"), "http://h/x");
    }

    #[test]
    fn text_without_a_scheme_is_refused() {
        assert!(Uri::parse("bucket/key").is_err());
        assert!(Uri::parse("://x").is_err());
        assert!(Uri::parse("s3:///x").is_err());
    }
}
