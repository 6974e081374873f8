//! How the node's network fails, in words: the step, what the kernel said, and what may be done about it.

use std::net::Ipv4Addr;

use nix::errno::Errno;

use super::netlink::Refusal;

/// A step of the node's network that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a step.
    #[error("{step}: {cause}")]
    Refused {
        /// What was being done, to what.
        step: String,
        /// The kernel's number.
        errno: Errno,
        /// The kernel's reason in words.
        cause: String,
    },
    /// No pod address is free.
    #[error("all pod addresses of {0} are taken")]
    NoAddress(super::Cidr),
    /// Not an address for pods.
    #[error("{0} is not an address for pods")]
    NotAPodAddress(Ipv4Addr),
    /// The holder process could not be started, reached or understood.
    #[error(transparent)]
    Holder(#[from] crate::holder::Error),
    /// The blocking task that talks to the kernel panicked.
    #[error("talk to the kernel about the node's network")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    pub(crate) fn refused(step: impl Into<String>, refusal: impl Into<Refusal>) -> Self {
        let Refusal { errno, text } = refusal.into();
        let cause = match text {
            Some(text) => format!("{} ({text})", errno.desc()),
            None => errno.desc().to_owned(),
        };
        Self::Refused {
            step: step.into(),
            errno,
            cause,
        }
    }

    /// The kernel's number, where the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}
