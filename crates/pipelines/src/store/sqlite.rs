//! The store in one file: one connection writes, several read. For one process at a time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::db::{Db, Tx};
use super::{Error, READERS, Result, migrate};

/// The open file.
pub struct File {
    // Closed in this order: the last to close moves what was written into the file, which a reader may not.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
    path: PathBuf,
}

impl File {
    /// Opens the file, making it or migrating it to a schema.
    pub fn open(path: &Path, schema: i64) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::File {
                action: "make the folder of",
                path: path.to_owned(),
                source,
            })?;
        }
        let open = || {
            let mut writer = connect(path, OpenFlags::default())?;
            migrate::file(&mut writer, path, schema)?;
            Ok(writer)
        };
        let writer = open().map_err(|error| damaged(error, path))?;
        let readers = (0..READERS)
            .map(|_| connect(path, reading()))
            .collect::<Result<_>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers: Mutex::new(readers),
            path: path.to_owned(),
        })
    }

    /// Runs a write transaction; an error rolls it back.
    pub fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&Tx::new(Db::sqlite(&transaction)))?;
        transaction.commit()?;
        Ok(answer)
    }

    /// Reads from one consistent snapshot.
    pub fn read<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        let taken = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match taken {
            Some(connection) => connection,
            None => connect(&self.path, reading())?,
        };
        let answer = connection
            .transaction()
            .map_err(Error::from)
            .and_then(|snapshot| work(&Db::sqlite(&snapshot)));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        answer
    }
}

fn reading() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Says so where SQLite finds the file itself broken.
fn damaged(error: Error, path: &Path) -> Error {
    match error {
        Error::Database(super::Failure::Sqlite(source))
            if matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
            ) =>
        {
            Error::Damaged {
                path: path.to_owned(),
                source,
            }
        }
        error => error,
    }
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
