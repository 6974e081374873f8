//! An S3 bucket as a store: its address as people write it, its credentials, which nothing prints, and the one look at
//! the start that turns what is wrong with either into a sentence with its remedy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};

use crate::object::location;
use crate::{Error, Key, Store};

/// How long one request is tried again before its failure is told.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often.
const TRIES: usize = 4;
/// Written once at each start: what may only read would fail in the middle of the first run otherwise.
const PROBE: &str = ".ferroflow/probe";

/// A bucket, or a folder of one: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&path-style=true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    bucket: String,
    prefix: Option<Key>,
    /// Where the server is; none for Amazon's own of the region.
    endpoint: Option<String>,
    region: String,
    /// The bucket is a part of the path, not of the host's name.
    is_path_style: bool,
}

/// Why a text is no address. The text itself is not repeated: people put passwords into addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the object store's address {0}; it is s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME&path-style=true"
)]
pub struct Malformed(String);

impl FromStr for Address {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refuse = |what: &str| Malformed(what.to_owned());
        let rest = text
            .trim()
            .strip_prefix("s3://")
            .ok_or_else(|| refuse("does not begin with s3://"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.contains(['@', ':']) {
            return Err(refuse(
                "has something before the bucket; credentials have keys of their own",
            ));
        }
        let is_name = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
        };
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(refuse("names no bucket"));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => None,
            prefix => Some(Key::parse(prefix).map_err(|problem| refuse(&problem.to_string()))?),
        };
        let mut address = Self {
            bucket: bucket.to_owned(),
            prefix,
            endpoint: None,
            region: "us-east-1".to_owned(),
            is_path_style: false,
        };
        let mut is_path_style = None;
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "endpoint" => address.endpoint = Some(endpoint(&unescaped(value))?),
                "region" if !value.is_empty() => value.clone_into(&mut address.region),
                "path-style" => {
                    is_path_style = Some(match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(refuse("has a path-style that is neither true nor false")),
                    });
                }
                "region" => return Err(refuse("has an empty region")),
                _ => {
                    return Err(refuse(
                        "has an option besides endpoint, region and path-style",
                    ));
                }
            }
        }
        // Servers other than Amazon's rarely have a name per bucket.
        address.is_path_style = is_path_style.unwrap_or(address.endpoint.is_some());
        Ok(address)
    }
}

fn endpoint(text: &str) -> Result<String, Malformed> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .map(|host| host.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '@', '?', '#']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(Malformed(
            "has an endpoint that is not http://HOST:PORT or https://HOST:PORT".to_owned(),
        )),
    }
}

/// `%3A%2F%2F` as it stands in a query that somebody escaped.
fn unescaped(text: &str) -> String {
    text.replace("%3A", ":")
        .replace("%3a", ":")
        .replace("%2F", "/")
        .replace("%2f", "/")
}

impl Address {
    /// `s3://BUCKET/PREFIX`: what every URI of this store begins with.
    pub fn uri(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("s3://{}/{prefix}", self.bucket),
            None => format!("s3://{}", self.bucket),
        }
    }

    fn server(&self) -> String {
        self.endpoint
            .clone()
            .unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", self.region))
    }

    /// The bucket, not yet spoken to.
    pub fn open(&self, credentials: &Credentials) -> Result<Store, Error> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(&credentials.secret_access_key)
            .with_virtual_hosted_style_request(!self.is_path_style)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(true)
                    .with_connect_timeout(Duration::from_secs(5))
                    // Of one request; the body of a large object may take longer than the library's 30 s.
                    .with_timeout(Duration::from_secs(600)),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: TRIES,
                retry_timeout: PATIENCE,
            });
        if let Some(endpoint) = &self.endpoint {
            let url = if self.is_path_style {
                endpoint.clone()
            } else {
                // The library wants the bucket's own host.
                endpoint.replacen("://", &format!("://{}.", self.bucket), 1)
            };
            builder = builder.with_endpoint(url);
        }
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token);
        }
        let bucket = builder
            .build()
            .map_err(|source| self.refused("open", source))?;
        Ok(Store::Object(Arc::new(bucket)))
    }

    /// Lists, writes and removes once, so that what is wrong is said at the start, and with what helps.
    pub async fn probe(&self, store: &Store) -> Result<(), Error> {
        let Store::Object(bucket) = store else {
            return Ok(());
        };
        let bucket: &dyn ObjectStore = bucket.as_ref();
        let probe = match &self.prefix {
            Some(prefix) => prefix.join(PROBE)?,
            None => Key::parse(PROBE)?,
        };
        let probe = location(&probe)?;
        let first = bucket.list(Some(&probe)).next().await.transpose();
        first.map_err(|source| self.refused("list", source))?;
        bucket
            .put(&probe, Bytes::from_static(b"ferroflow").into())
            .await
            .map_err(|source| self.refused("write to", source))?;
        bucket
            .delete(&probe)
            .await
            .map_err(|source| self.refused("remove from", source))
    }

    fn refused(&self, action: &'static str, source: object_store::Error) -> Error {
        let remedy = remedy(&source);
        Error::Bucket {
            action,
            bucket: self.uri(),
            server: self.server(),
            remedy,
            source,
        }
    }
}

/// What helps, as far as the answer tells.
fn remedy(source: &object_store::Error) -> &'static str {
    let text = chain(source);
    let says = |word: &str| text.contains(word);
    if says("NoSuchBucket") || matches!(source, object_store::Error::NotFound { .. }) {
        "it does not exist: create it, or correct the address"
    } else if says("InvalidAccessKeyId") {
        "the access key is unknown there: correct it in the Secret"
    } else if says("SignatureDoesNotMatch") {
        "the secret access key is not the one of the access key: correct it in the Secret"
    } else if matches!(
        source,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    ) {
        "the access key may not: give it the right to list, read, write and delete there"
    } else if says("AuthorizationHeaderMalformed") || says("PermanentRedirect") {
        "it lies in another region: set region= in the address"
    } else if says("status") || says("Status") {
        "see what the server says"
    } else {
        "the server cannot be reached: correct endpoint= in the address, or let this pod reach it"
    }
}

fn chain(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// Who we are to the server. Never printed, never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Beside keys that are good for a while.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_the_bucket_is_and_how_it_is_spoken_to() {
        let address: Address = "s3://mlp/team/a/?endpoint=http://minio.minio:9000/&region=eu-1"
            .parse()
            .unwrap();
        assert_eq!(address.uri(), "s3://mlp/team/a");
        assert_eq!(address.server(), "http://minio.minio:9000");
        assert!(address.is_path_style && address.region == "eu-1");
        let amazon: Address = "s3://mlpipeline?region=eu-central-1".parse().unwrap();
        assert_eq!(amazon.uri(), "s3://mlpipeline");
        assert_eq!(amazon.server(), "https://s3.eu-central-1.amazonaws.com");
        assert!(!amazon.is_path_style);
    }

    #[test]
    fn what_is_no_address_is_refused_and_never_repeated() {
        for text in [
            "",
            "gs://bucket",
            "s3://",
            "s3://key:secret@bucket",
            "s3://bucket/../other",
            "s3://bucket?endpoint=minio:9000",
            "s3://bucket?endpoint=http://u:secret@minio",
            "s3://bucket?secret=1",
            "s3://bucket?path-style=secret",
        ] {
            let problem = text.parse::<Address>().unwrap_err().to_string();
            assert!(!problem.contains("secret"), "{text}: {problem}");
            assert!(problem.contains("s3://BUCKET"), "{text}: {problem}");
        }
    }

    #[test]
    fn credentials_are_not_printed() {
        let credentials = Credentials {
            access_key_id: "id".into(),
            secret_access_key: "hidden".into(),
            session_token: None,
        };
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }
}
