//! The SQLite side: schema, statements and what is read back at start. Only the writer thread holds one of these.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, params};

use super::error::is_damage;
use super::{Durability, Error};

/// Layout of the tables; a newer number is refused, an older one is brought forward in [`Log::open`].
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE collection(id INTEGER PRIMARY KEY, grp TEXT NOT NULL, resource TEXT NOT NULL, UNIQUE(grp, resource));
CREATE TABLE object(res INTEGER NOT NULL, key TEXT NOT NULL, rev INTEGER NOT NULL, val BLOB NOT NULL,
                    PRIMARY KEY(res, key)) WITHOUT ROWID;
CREATE TABLE log(rev INTEGER PRIMARY KEY, res INTEGER NOT NULL, key TEXT NOT NULL, op INTEGER NOT NULL,
                 prev INTEGER NOT NULL, val BLOB NOT NULL);
CREATE TABLE meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
";

/// How a row of the log changed its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create = 0,
    Change = 1,
    Remove = 2,
}

/// A row of the log, read back at start.
pub(super) struct Row {
    pub(super) revision: u64,
    pub(super) collection: u32,
    pub(super) key: String,
    pub(super) op: Op,
    pub(super) previous: u64,
    pub(super) bytes: Bytes,
}

/// The open database.
pub(super) struct Log {
    connection: Connection,
    durability: Durability,
}

impl Log {
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, Error> {
        let failed = |why: String| Error::Open {
            path: path.to_owned(),
            why,
        };
        let refuse = |err: rusqlite::Error| match err.sqlite_error_code() {
            _ if is_damage(&err) => Error::damaged(path, &err),
            Some(rusqlite::ErrorCode::DatabaseBusy) => {
                failed("another process is using it; stop that one first".into())
            }
            _ => failed(format!(
                "{err}; check that the folder exists and can be written"
            )),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .map_err(refuse)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(refuse)?;
        // Checkpoints run on their own connection; this is only the net below it (16,384 pages of 4 KiB = 64 MiB).
        connection
            .pragma_update(None, "wal_autocheckpoint", 16_384)
            .map_err(refuse)?;
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(refuse)?;
        match version {
            0 => {
                connection
                    .execute_batch(&format!(
                        "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
                    ))
                    .map_err(refuse)?;
            }
            VERSION => {}
            newer => {
                return Err(failed(format!(
                    "it was written by a newer version (layout {newer}, this one knows {VERSION}); use that version"
                )));
            }
        }
        let mut log = Self {
            connection,
            durability,
        };
        log.sync(durability)?;
        Ok(log)
    }

    fn sync(&mut self, durability: Durability) -> Result<(), Error> {
        let word = match durability {
            Durability::Normal => "NORMAL",
            Durability::Full => "FULL",
        };
        Ok(self.connection.pragma_update(None, "synchronous", word)?)
    }

    pub(super) fn collections(&self) -> Result<Vec<(u32, String, String)>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT id, grp, resource FROM collection ORDER BY id")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn add_collections(&mut self, added: &[(u32, String, String)]) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        for (id, group, resource) in added {
            transaction.execute(
                "INSERT INTO collection(id, grp, resource) VALUES (?, ?, ?)",
                params![id, group, resource],
            )?;
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn objects(
        &self,
        mut each: impl FnMut(u32, String, u64, Bytes),
    ) -> Result<(), Error> {
        let mut query = self
            .connection
            .prepare("SELECT res, key, rev, val FROM object ORDER BY res, key")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            each(
                row.get(0)?,
                row.get(1)?,
                row.get::<_, i64>(2)? as u64,
                Bytes::from(row.get::<_, Vec<u8>>(3)?),
            );
        }
        Ok(())
    }

    /// The last `limit` rows of history, oldest first, and not more than `bytes` of them.
    pub(super) fn history(&self, limit: u64, bytes: usize) -> Result<Vec<Row>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT rev, res, key, op, prev, val FROM log ORDER BY rev DESC LIMIT ?")?;
        let mut rows = query.query([limit as i64])?;
        let mut read = Vec::new();
        let mut total = 0;
        while let Some(row) = rows.next()? {
            let value: Vec<u8> = row.get(5)?;
            total += value.len();
            if total > bytes {
                break;
            }
            read.push(Row {
                revision: row.get::<_, i64>(0)? as u64,
                collection: row.get(1)?,
                key: row.get(2)?,
                op: match row.get::<_, i64>(3)? {
                    0 => Op::Create,
                    1 => Op::Change,
                    _ => Op::Remove,
                },
                previous: row.get::<_, i64>(4)? as u64,
                bytes: value.into(),
            });
        }
        read.reverse();
        Ok(read)
    }

    pub(super) fn last_revision(&self) -> Result<u64, Error> {
        let newest: Option<i64> =
            self.connection
                .query_row("SELECT MAX(rev) FROM log", [], |row| row.get(0))?;
        Ok(newest.unwrap_or(0) as u64)
    }

    pub(super) fn meta(&self, key: &str) -> Result<Option<u64>, Error> {
        let mut query = self
            .connection
            .prepare_cached("SELECT v FROM meta WHERE k = ?")?;
        let mut rows = query.query([key])?;
        Ok(match rows.next()? {
            Some(row) => Some(row.get::<_, i64>(0)? as u64),
            None => None,
        })
    }

    /// Records a number so that it survives a power cut, whatever the durability of ordinary writes.
    pub(super) fn set_meta_synced(&mut self, key: &str, value: u64) -> Result<(), Error> {
        self.sync(Durability::Full)?;
        self.connection.execute(
            "INSERT OR REPLACE INTO meta(k, v) VALUES (?, ?)",
            params![key, value as i64],
        )?;
        self.sync(self.durability)
    }

    pub(super) fn begin(&self) -> Result<(), Error> {
        Ok(self
            .connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])
            .map(|_| ())?)
    }

    pub(super) fn commit(&self) -> Result<(), Error> {
        Ok(self
            .connection
            .prepare_cached("COMMIT")?
            .execute([])
            .map(|_| ())?)
    }

    pub(super) fn roll_back(&self) {
        if let Err(err) = self.connection.execute_batch("ROLLBACK") {
            tracing::error!(error = %err, "rolling back a failed commit");
        }
    }

    pub(super) fn record(
        &self,
        revision: u64,
        collection: u32,
        key: &str,
        op: Op,
        previous: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO log(rev, res, key, op, prev, val) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                revision as i64,
                collection,
                key,
                op as i64,
                previous as i64,
                bytes
            ])?;
        match op {
            Op::Remove => self
                .connection
                .prepare_cached("DELETE FROM object WHERE res = ? AND key = ?")?
                .execute(params![collection, key])?,
            Op::Create | Op::Change => self
                .connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO object(res, key, rev, val) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![collection, key, revision as i64, bytes])?,
        };
        Ok(())
    }

    /// How many rows of history there are.
    pub(super) fn rows(&self) -> Result<u64, Error> {
        let rows: i64 = self
            .connection
            .query_row("SELECT COUNT(*) FROM log", [], |row| row.get(0))?;
        Ok(rows as u64)
    }

    /// Forgets the oldest `rows` of history; answers how many went.
    pub(super) fn compact(&self, rows: u64) -> Result<usize, Error> {
        Ok(self
            .connection
            .prepare_cached(
                "DELETE FROM log WHERE rev IN (SELECT rev FROM log ORDER BY rev LIMIT ?)",
            )?
            .execute(params![rows as i64])?)
    }
}

/// Moves committed pages from the WAL into the file, on a connection of its own so that writes go on meanwhile.
pub(super) fn checkpoint_loop(path: &Path, wake: &std::sync::mpsc::Receiver<()>) {
    let connection = match Connection::open(path) {
        Ok(connection) => connection,
        Err(err) => return tracing::warn!(error = %err, "opening the checkpoint connection"),
    };
    while wake.recv().is_ok() {
        while wake.try_recv().is_ok() {}
        if let Err(err) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::debug!(error = %err, "checkpoint skipped");
        }
    }
}
