//! The three patch formats: JSON patch (RFC 6902), merge patch (RFC 7396), strategic merge patch.
//! Server-side apply is in `apply`: it needs to know who owns what.

mod json;
mod merge;
mod strategic;

pub use json::{MAX_COPIED_BYTES, MAX_OPERATIONS, json};
pub use merge::merge;
pub use strategic::strategic;

use crate::status::Status;

/// Why a patch was not applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The patch itself cannot be read: the request is bad.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object it is for.
    #[error("{0}")]
    Unprocessable(String),
    /// The patch asks for more than the server does in one request.
    #[error("{0}")]
    TooLarge(String),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Malformed(message) => Self::bad_request(message),
            Error::Unprocessable(message) => Self::unprocessable(message),
            Error::TooLarge(message) => Self::too_large(&message),
        }
    }
}
