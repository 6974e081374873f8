//! Why a sandbox could not be set up, as text: it has to cross from a forked child to the server.

use std::fmt::Display;
use std::io;

/// What was being done, and the cause.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Failure(pub String);

/// Says what was being done when something failed.
pub trait While<T> {
    /// Names the step.
    fn during<S: Display>(self, step: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Display> While<T> for Result<T, E> {
    fn during<S: Display>(self, step: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", step())))
    }
}

/// The result of a system call that answers -1 on failure.
pub fn check(result: i64) -> io::Result<i64> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
