//! What can go wrong between a handler and the database, in the store's own words.

use std::path::PathBuf;

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is taken.
    #[error("an object is already stored at {key}")]
    Exists {
        /// The key.
        key: String,
    },
    /// The key is free.
    #[error("no object is stored at {key}")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The object moved on since it was read.
    #[error("the object at {key} was changed since it was read")]
    Conflict {
        /// The key.
        key: String,
    },
    /// History before this point is gone.
    #[error("too old resource version: {revision} ({oldest})")]
    Expired {
        /// The revision asked for.
        revision: u64,
        /// The oldest one that can be served.
        oldest: u64,
    },
    /// The writer has ended.
    #[error("the object store is shut down")]
    Closed,
    /// A statement failed.
    #[error("writing to the object database")]
    Database(#[source] std::sync::Arc<rusqlite::Error>),
    /// The file cannot be opened or is not ours.
    #[error("opening the object database {path}: {why}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause and the remedy.
        why: String,
    },
    /// No thread could be started.
    #[error("starting the writer thread")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// Damage that shows only when the file is read is damage of the file all the same.
    pub(crate) fn while_opening(self, path: &std::path::Path) -> Self {
        match &self {
            Self::Database(source) if is_damage(source) => Self::damaged(path, source),
            _ => self,
        }
    }

    pub(crate) fn damaged(path: &std::path::Path, source: &rusqlite::Error) -> Self {
        Self::Open {
            path: path.to_owned(),
            why: format!(
                "the file is damaged ({source}); restore it from a copy, or move it away to start empty"
            ),
        }
    }
}

/// Whether SQLite says that the file itself is broken.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
    )
}

impl From<rusqlite::Error> for Error {
    fn from(err: rusqlite::Error) -> Self {
        Self::Database(std::sync::Arc::new(err))
    }
}
