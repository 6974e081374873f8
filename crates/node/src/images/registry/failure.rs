//! What a registry or the way to it refused, in words: every message names the cause, and the remedy where there is one.

use std::path::PathBuf;

use oci_client::errors::{OciDistributionError, OciErrorCode};

use crate::images::name::ImageName;

/// Why an image could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not know it.
    #[error("registry {registry} has no image {image}")]
    NotFound {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
    },
    /// The registry wants to know who asks, or refuses who asked.
    #[error(
        "registry {registry} refuses access to {image}: it may be absent there, or a sign-in is needed or wrong \
         (pods: imagePullSecrets; kfctl image: ~/.docker/config.json or --username with --password-stdin)"
    )]
    Denied {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
    },
    /// No answer.
    #[error("registry {registry} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The innermost cause.
        cause: String,
    },
    /// Another refusal.
    #[error("{image}: {message}")]
    Refused {
        /// The image.
        image: String,
        /// In the registry's words.
        message: String,
    },
    /// What came is not what its digest says.
    #[error("what registry {registry} sent for {what} has another digest; it was thrown away")]
    Changed {
        /// The registry.
        registry: String,
        /// The digest that was asked for.
        what: String,
    },
    /// Nothing in it runs here.
    #[error("{image} is not made for linux on {architecture}")]
    OtherPlatform {
        /// The image.
        image: String,
        /// Of this machine.
        architecture: &'static str,
    },
    /// What came cannot be understood.
    #[error("{image} has no readable manifest: {message}")]
    Malformed {
        /// The image.
        image: String,
        /// What is wrong.
        message: String,
    },
    /// Reading or writing here failed.
    #[error("using {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Another try may go better.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Translates what the client library says.
pub(super) fn of(name: &ImageName, error: OciDistributionError) -> Error {
    let (image, registry) = (name.to_string(), name.registry().to_owned());
    match error {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => Error::Denied { registry, image },
        OciDistributionError::ImageManifestNotFoundError(_) => Error::NotFound { registry, image },
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|error| &error.code) {
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => Error::NotFound { registry, image },
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => {
                    Error::Denied { registry, image }
                }
                Some(OciErrorCode::Toomanyrequests) => Error::Refused {
                    image,
                    message: format!(
                        "registry {registry} gets too many requests; sign in, or wait"
                    ),
                },
                _ => Error::Refused {
                    image,
                    message: format!("registry {registry} says: {envelope}"),
                },
            }
        }
        OciDistributionError::ServerError {
            code: 401 | 403, ..
        } => Error::Denied { registry, image },
        OciDistributionError::ServerError { code: 404, .. } => Error::NotFound { registry, image },
        OciDistributionError::ServerError { code, .. } if code >= 500 => Error::Unreachable {
            registry,
            cause: format!("it answers with error {code}"),
        },
        OciDistributionError::RequestError(error) => match error.status().map(|s| s.as_u16()) {
            Some(401 | 403) => Error::Denied { registry, image },
            Some(404) => Error::NotFound { registry, image },
            Some(code) if code < 500 => Error::Refused {
                image,
                message: format!("registry {registry} answers with error {code}"),
            },
            _ => Error::Unreachable {
                registry,
                cause: innermost(&error),
            },
        },
        OciDistributionError::IoError(error) => Error::Unreachable {
            registry,
            cause: innermost(&error),
        },
        OciDistributionError::DigestError(_) => Error::Changed {
            registry,
            what: image,
        },
        other => Error::Refused {
            image,
            message: other.to_string(),
        },
    }
}

/// The last cause of a chain, which says most: the links before it only repeat each other.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
