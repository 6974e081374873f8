//! One statement at a time, on either database. Statements are written once, in the subset that both understand, with
//! `?` and `?1` for what is given; every column is text or a 64-bit integer. `value.rs` alone asks which database it is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;

use super::notices::Notice;
use super::{Error, Result, postgresql};

/// A value given to a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Given<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// A number out of JSON.
    Real(f64),
}

impl<'a> From<&'a str> for Given<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Given<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Given<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Given<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<f64> for Given<'_> {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl rusqlite::ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self {
            Self::Text(text) => text.as_ref().into(),
            Self::Number(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
        })
    }
}

/// What is given to a statement, in order.
macro_rules! given {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::Given::from($value)),*] };
}
pub(crate) use given;

/// One row of an answer; columns by their position.
pub enum Row<'a> {
    /// From SQLite.
    Sqlite(&'a rusqlite::Row<'a>),
    /// From PostgreSQL.
    Postgresql(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// How many columns there are.
    pub fn width(&self) -> usize {
        match self {
            Self::Sqlite(row) => row.as_ref().column_count(),
            Self::Postgresql(row) => row.len(),
        }
    }

    /// A column of text.
    pub fn text(&self, column: usize) -> Result<String> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgresql(row) => row.try_get(column)?,
        })
    }

    /// A column of numbers.
    pub fn number(&self, column: usize) -> Result<i64> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgresql(row) => row.try_get(column)?,
        })
    }

    /// A column of numbers out of JSON.
    pub fn real(&self, column: usize) -> Result<f64> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgresql(row) => row.try_get(column)?,
        })
    }
}

/// Whose SQL a statement is written in, where one text does not do for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgresql,
}

enum Connected<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgresql(RefCell<&'a mut postgresql::Connection>),
}

/// A consistent view of the database, to read from.
pub struct Db<'a>(Connected<'a>);

impl<'a> Db<'a> {
    pub(super) fn sqlite(connection: &'a rusqlite::Connection) -> Self {
        Self(Connected::Sqlite(connection))
    }

    pub(super) fn postgresql(connection: &'a mut postgresql::Connection) -> Self {
        Self(Connected::Postgresql(RefCell::new(connection)))
    }

    /// Whose SQL it understands.
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Connected::Sqlite(_) => Dialect::Sqlite,
            Connected::Postgresql(_) => Dialect::Postgresql,
        }
    }

    /// Every row, each read by `read`.
    pub fn all<T>(
        &self,
        sql: &str,
        given: &[Given<'_>],
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        match &self.0 {
            Connected::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(given))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push(read(&Row::Sqlite(row))?);
                }
                Ok(all)
            }
            Connected::Postgresql(connection) => connection
                .borrow_mut()
                .query(sql, given)?
                .iter()
                .map(|row| read(&Row::Postgresql(row)))
                .collect(),
        }
    }

    /// The first row, when there is one.
    pub fn first<T>(
        &self,
        sql: &str,
        given: &[Given<'_>],
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.all(sql, given, read)?.into_iter().next())
    }

    /// The first row, or that `kind` `id` is not found.
    pub fn one<T>(
        &self,
        kind: &'static str,
        id: &str,
        sql: &str,
        given: &[Given<'_>],
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.first(sql, given, read)?
            .ok_or_else(|| Error::NotFound {
                kind,
                id: id.to_owned(),
            })
    }

    /// One number, which a statement of this crate always answers.
    pub fn number(&self, sql: &str, given: &[Given<'_>]) -> Result<i64> {
        Ok(self
            .first(sql, given, |row| row.number(0))?
            .unwrap_or_default())
    }
}

/// A write transaction: no other writes at the same time, in this process or in another, so what it reads stays true until
/// it is committed.
pub struct Tx<'a> {
    db: Db<'a>,
    noted: RefCell<BTreeSet<Notice>>,
}

impl<'a> Deref for Tx<'a> {
    type Target = Db<'a>;

    fn deref(&self) -> &Db<'a> {
        &self.db
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(db: Db<'a>) -> Self {
        Self {
            db,
            noted: RefCell::default(),
        }
    }

    /// Tells other replicas, once it is committed.
    pub(super) fn note(&self, notice: Notice) {
        self.noted.borrow_mut().insert(notice);
    }

    /// What was noted.
    pub(super) fn noted(&self) -> Vec<Notice> {
        self.noted.borrow().iter().cloned().collect()
    }

    /// Changes rows; answers how many.
    pub fn execute(&self, sql: &str, given: &[Given<'_>]) -> Result<u64> {
        match &self.db.0 {
            Connected::Sqlite(connection) => Ok(connection
                .prepare_cached(sql)?
                .execute(rusqlite::params_from_iter(given))?
                as u64),
            Connected::Postgresql(connection) => connection.borrow_mut().execute(sql, given),
        }
    }

    /// Runs several statements without values.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        match &self.db.0 {
            Connected::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Connected::Postgresql(connection) => connection.borrow_mut().batch(sql),
        }
    }
}
