//! Everything this component remembers: in one SQLite file, or on a PostgreSQL server that replicas share. All SQL of the
//! crate stands below this module, in the subset that both understand: text, 64-bit integers (times in microseconds, 0
//! for none), JSON as text. Only what looks into JSON is written for each (`value.rs`).
//!
//! One transaction writes at a time, several read. Writes of the engine carry its lease epoch and are refused when another
//! engine has taken over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

pub mod artifact;
pub mod cache;
pub mod db;
pub mod experiment;
mod filter;
pub mod lease;
pub mod list;
mod migrate;
pub mod notices;
pub mod pipeline;
pub mod postgresql;
pub mod request;
pub mod run;
pub mod spec;
mod sqlite;
mod tagged;
pub mod task;
pub mod value;
pub mod version;

pub use db::{Db, Tx};

#[cfg(test)]
mod opened;
#[cfg(test)]
#[path = "../../tests/postgresql/postgres.rs"]
mod postgres;

/// How many connections read at the same time.
const READERS: usize = 4;

/// What the store can answer with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such row.
    #[error("{kind} {id} not found")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// By which id or name.
        id: String,
    },
    /// A unique name is taken.
    #[error("{kind} {name} already exists. Please specify a new name")]
    AlreadyExists {
        /// What was to be made.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The request does not fit the state of things.
    #[error("{0}")]
    Precondition(String),
    /// A list request makes no sense.
    #[error("{0}")]
    List(String),
    /// Another engine has the lease.
    #[error("another engine (epoch {0}) has taken over this database")]
    Fenced(i64),
    /// The database was written by a newer version.
    #[error(
        "the database {database} has schema {found}, this version knows {known}: start the newer version again, or restore a copy from before it (a file has one beside it)"
    )]
    Newer {
        /// The file, or the database on its server.
        database: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is broken.
    #[error(
        "the pipelines database {path} is damaged; restore it from a copy, or move it away to start without runs"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Nobody does what was asked.
    #[error(
        "no replica drives runs right now, so nothing was done: try again in a few seconds, and look at the pods of ml-pipeline if it stays so"
    )]
    NoDriver,
    /// The database server cannot be used.
    #[error(transparent)]
    Unusable(#[from] Box<postgresql::Unusable>),
    /// No event queue for a connection to the server.
    #[error("could not prepare connections to the database server")]
    Runtime {
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the pipelines database failed")]
    Database(#[source] Failure),
    /// A stored value cannot be read back.
    #[error("a stored {what} cannot be read")]
    Corrupt {
        /// Which.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The file could not be opened or copied.
    #[error("could not {action} the database {path}")]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether whoever drives runs has to stop, rather than refuse what was asked of it.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Fenced(_) | Self::Database(_) | Self::Unusable(_) | Self::Runtime { .. }
        )
    }
}

/// Result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a database says of a statement that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// SQLite.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// PostgreSQL.
    #[error(transparent)]
    Postgresql(tokio_postgres::Error),
}

impl From<rusqlite::Error> for Error {
    fn from(problem: rusqlite::Error) -> Self {
        Self::Database(Failure::Sqlite(problem))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(problem: tokio_postgres::Error) -> Self {
        Self::Database(Failure::Postgresql(problem))
    }
}

impl From<postgresql::Unusable> for Error {
    fn from(problem: postgresql::Unusable) -> Self {
        Box::new(problem).into()
    }
}

/// The open database.
pub struct Store {
    database: Database,
    free: tokio::sync::Semaphore,
}

enum Database {
    File(sqlite::File),
    Server(Box<postgresql::Server>),
}

impl Store {
    /// Opens a file, making or migrating it.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        Ok(Self::over(Database::File(sqlite::File::open(
            path,
            migrate::newest(),
        )?)))
    }

    /// Connects to a server, making or migrating the tables.
    pub async fn connect(url: postgresql::Url) -> Result<Arc<Self>> {
        let server = blocking(move || postgresql::Server::open(url, migrate::newest())).await?;
        Ok(Self::over(Database::Server(Box::new(server))))
    }

    fn over(database: Database) -> Arc<Self> {
        Arc::new(Self {
            database,
            free: tokio::sync::Semaphore::new(READERS),
        })
    }

    /// What other replicas tell from now on; nothing where there can be none.
    pub fn listen(&self) -> UnboundedReceiver<notices::Heard> {
        match &self.database {
            Database::File(_) => tokio::sync::mpsc::unbounded_channel().1,
            Database::Server(server) => notices::listen(server),
        }
    }

    /// Runs a write transaction; an error rolls it back.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(self);
        blocking(move || store.write_now(work)).await
    }

    /// The same, on the calling thread, which must not be one of an async runtime.
    pub fn write_now<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        match &self.database {
            Database::File(file) => file.write(work),
            Database::Server(server) => server.write(work),
        }
    }

    /// Reads from one consistent snapshot.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(self);
        let _free = self
            .free
            .acquire()
            .await
            .expect("the semaphore is never closed");
        blocking(move || store.read_now(work)).await
    }

    /// The same, on the calling thread, which must not be one of an async runtime.
    pub fn read_now<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        match &self.database {
            Database::File(file) => file.read(work),
            Database::Server(server) => server.read(work),
        }
    }
}

/// Databases block, so their work stays off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn optional_micros(at: Option<Timestamp>) -> i64 {
    at.map_or(0, micros)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn optional_timestamp(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| timestamp(micros))
}

fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| Error::Corrupt { what, source })
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Corrupt { what, source })
}

/// Turns a broken uniqueness rule into "already exists".
fn unique(kind: &'static str, name: &str) -> impl FnOnce(Error) -> Error + use<> {
    let name = name.to_owned();
    move |problem| {
        let is_taken = match &problem {
            Error::Database(Failure::Sqlite(problem)) => {
                problem.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
            }
            Error::Database(Failure::Postgresql(problem)) => {
                problem.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION)
            }
            _ => false,
        };
        if is_taken {
            Error::AlreadyExists { kind, name }
        } else {
            problem
        }
    }
}
