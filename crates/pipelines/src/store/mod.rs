//! Everything this component remembers, in one SQLite file. All SQL of the crate stands below this module, in the subset
//! that PostgreSQL understands too: text, 64-bit integers (times in microseconds, 0 for none), JSON as text.
//!
//! One connection writes, several read. Writes of the engine carry its lease epoch and are refused when another engine
//! has taken over.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub mod artifact;
pub mod cache;
pub mod experiment;
mod filter;
pub mod lease;
pub mod list;
mod migrate;
pub mod pipeline;
pub mod run;
pub mod spec;
mod tagged;
pub mod task;
pub mod version;

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
    /// The file was written by a newer version.
    #[error(
        "the database {path} has schema {found}, this version knows {known}: start the newer version again, or restore the copy it made beside the file"
    )]
    Newer {
        /// The file.
        path: PathBuf,
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
    /// The database refused.
    #[error("the pipelines database failed")]
    Database(#[from] rusqlite::Error),
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

/// Result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The open database.
pub struct Store {
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    free: tokio::sync::Semaphore,
    path: PathBuf,
}

impl Store {
    /// Opens the file, making or migrating it.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::File {
                action: "make the folder of",
                path: path.to_owned(),
                source,
            })?;
        }
        let open = || {
            let mut writer = connect(path, OpenFlags::default())?;
            migrate::migrate(&mut writer, path)?;
            Ok(writer)
        };
        let writer = open().map_err(|error| match error {
            Error::Database(source) if is_damage(&source) => Error::Damaged {
                path: path.to_owned(),
                source,
            },
            error => error,
        })?;
        let readers = (0..READERS)
            .map(|_| {
                connect(
                    path,
                    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
                )
            })
            .collect::<Result<_>>()?;
        Ok(Arc::new(Self {
            writer: Mutex::new(writer),
            readers: Mutex::new(readers),
            free: tokio::sync::Semaphore::new(READERS),
            path: path.to_owned(),
        }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a write transaction; an error rolls it back.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(self);
        blocking(move || store.write_now(work)).await
    }

    /// The same, on the calling thread.
    pub fn write_now<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }

    /// Reads from one consistent snapshot.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(self);
        let _free = self
            .free
            .acquire()
            .await
            .expect("the semaphore is never closed");
        blocking(move || store.read_now(work)).await
    }

    /// The same, on the calling thread.
    pub fn read_now<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let taken = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match taken {
            Some(connection) => connection,
            None => connect(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
        };
        let answer = connection
            .transaction()
            .map_err(Error::from)
            .and_then(|snapshot| work(&snapshot));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        answer
    }
}

/// Whether SQLite says that the file itself is broken.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
    )
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        // NORMAL: a crash of the process loses nothing, a power cut may take the last commits. What steps did since then
        // is not lost with them: their reports lie on the artifact volume and are found when the step is launched again.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
        )?;
    }
    Ok(connection)
}

/// SQLite blocks, so its work stays off the async threads; outside a runtime it just runs.
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
fn unique(kind: &'static str, name: &str) -> impl FnOnce(rusqlite::Error) -> Error + use<> {
    let name = name.to_owned();
    move |problem| match problem.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => Error::AlreadyExists { kind, name },
        _ => Error::Database(problem),
    }
}

/// Turns "no rows" into "not found".
fn found<T>(kind: &'static str, id: &str, answer: rusqlite::Result<T>) -> Result<T> {
    answer.map_err(|problem| match problem {
        rusqlite::Error::QueryReturnedNoRows => Error::NotFound {
            kind,
            id: id.to_owned(),
        },
        other => Error::Database(other),
    })
}
