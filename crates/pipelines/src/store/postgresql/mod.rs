//! The store on a PostgreSQL server, which several replicas may share. Every write transaction takes one lock of the
//! database, so writes follow each other across all replicas as they do in a SQLite file; reads see one snapshot and wait
//! for nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::db::{Db, Given, Tx};
use super::{Error, READERS, Result, migrate, notices};

mod tls;
mod url;

pub use url::{BadUrl, Url};

/// The oldest server that this version is tested with, as the server counts.
const OLDEST: i64 = 150_000;
/// The key of the lock that writes take; any number that nobody else uses in this database.
const LOCK: i64 = 0x0066_6572_726f;
/// What every connection is told. A replica that went away in the middle of a transaction (its machine died) is forgotten
/// by the server after the first of these; the others bound what one of ours waits for.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '20s'; \
    SET statement_timeout = '60s'; SET standard_conforming_strings = on; SET application_name = 'ferroflow-pipelines'";
/// Statements that a connection keeps prepared.
const PREPARED: usize = 200;

/// Why a database cannot be used; each with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Nobody answers.
    #[error(
        "the database server does not answer ({url}): check that it runs and may be reached from here, and the host and port in the database URL"
    )]
    Unreachable {
        /// Which.
        url: Url,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// User or password are wrong, or the server does not let this user in from here.
    #[error(
        "the database server refuses the user or its password ({url}): check both in the database URL's Secret, and the server's pg_hba.conf"
    )]
    Refused {
        /// Which.
        url: Url,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No such database.
    #[error("the server has no such database ({url}): make it with CREATE DATABASE … OWNER …")]
    Missing {
        /// Which.
        url: Url,
    },
    /// The server is too old.
    #[error(
        "the database server is PostgreSQL {found}, and 15 is the oldest that is supported ({url}): upgrade the server, or name another"
    )]
    TooOld {
        /// Which.
        url: Url,
        /// What it says of itself.
        found: String,
    },
    /// The user may not make tables.
    #[error(
        "the user may not make tables in the database ({url}): make it the owner with ALTER DATABASE … OWNER TO …"
    )]
    NotOwner {
        /// Which.
        url: Url,
    },
    /// The encrypted connection failed, or the file of authorities cannot be read.
    #[error("no trusted connection to the database server ({url}): {why}")]
    Untrusted {
        /// Which.
        url: Url,
        /// In words, with the remedy.
        why: String,
    },
}

/// How connections to the server are made.
#[derive(Clone)]
pub(super) struct Connector {
    url: Url,
    tls: MakeRustlsConnect,
}

/// Connections to the server.
pub struct Server {
    connector: Connector,
    /// This process, as other replicas hear of it.
    origin: String,
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
}

/// One connection; statements on it are prepared once.
pub struct Connection {
    client: Client,
    prepared: HashMap<String, Statement>,
    driver: Driver,
}

/// Moves the bytes of one connection on the thread that waits for them: no other thread has to be woken for each
/// statement. `None` only while being dropped.
struct Driver(Option<Runtime>);

impl Driver {
    fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Runtime { source })?;
        Ok(Self(Some(runtime)))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.0.as_ref().expect("taken only when dropped");
        runtime.block_on(work)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Waits for nothing, so that it may be dropped anywhere.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// Connects, making the tables or migrating them to a schema.
    pub fn open(url: Url, schema: i64) -> Result<Self> {
        let server = Self {
            connector: Connector {
                tls: MakeRustlsConnect::new(tls::config(&url)?),
                url,
            },
            origin: uuid::Uuid::new_v4().to_string(),
            writer: Mutex::new(None),
            readers: Mutex::new(Vec::new()),
        };
        let name = server.connector.url.to_string();
        server
            .write(|tx| migrate::database(tx, &name, schema))
            .map_err(|error| server.about_rights(error))?;
        Ok(server)
    }

    /// Runs a write transaction; an error rolls it back.
    pub fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
        // Taken out: whatever ends half done ends with its connection.
        let mut connection = self.begun(writer.take(), &begin)?;
        let tx = Tx::new(Db::postgresql(&mut connection));
        let answer = work(&tx).and_then(|answer| {
            notices::send(&tx, &self.origin)?;
            Ok(answer)
        });
        drop(tx);
        connection.batch(if answer.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        *writer = Some(connection);
        answer
    }

    /// Reads from one consistent snapshot.
    pub fn read<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        let kept = self.readers().pop();
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut connection = self.begun(kept, begin)?;
        let answer = work(&Db::postgresql(&mut connection));
        connection.batch("ROLLBACK")?;
        let mut readers = self.readers();
        if readers.len() < READERS {
            readers.push(connection);
        }
        answer
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with a transaction: the one at hand, or a new one where the server has closed that.
    fn begun(&self, kept: Option<Connection>, begin: &str) -> Result<Connection> {
        if let Some(mut kept) = kept.filter(|kept| !kept.client.is_closed()) {
            // Where that fails nothing was done yet: the server went away and may be back.
            if kept.batch(begin).is_ok() {
                return Ok(kept);
            }
        }
        let mut fresh = self.connect()?;
        fresh.batch(begin)?;
        Ok(fresh)
    }

    fn connect(&self) -> Result<Connection> {
        let driver = Driver::new()?;
        let client = driver.block_on(async {
            let (client, connection) = self.connector.connect().await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(error = %objects::chain(&error), "a connection to the database server broke");
                }
            });
            client.batch_execute(SESSION).await?;
            let row = client
                .query_one(
                    "SELECT current_setting('server_version_num')::bigint, current_setting('server_version')",
                    &[],
                )
                .await?;
            check_version(&self.connector.url, row.try_get(0)?, row.try_get(1)?)?;
            Ok::<_, Error>(client)
        })?;
        Ok(Connection {
            client,
            prepared: HashMap::new(),
            driver,
        })
    }

    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    fn about_rights(&self, error: Error) -> Error {
        match &error {
            Error::Database(super::Failure::Postgresql(problem))
                if problem.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
            {
                Unusable::NotOwner {
                    url: self.connector.url.clone(),
                }
                .into()
            }
            _ => error,
        }
    }
}

impl Connector {
    /// One more connection; what comes in has to be taken from its second half.
    pub(super) async fn connect(&self) -> Result<(Client, Wire)> {
        self.url
            .config
            .connect(self.tls.clone())
            .await
            .map_err(|source| unusable(&self.url, source))
    }
}

/// The half of a connection that moves bytes.
type Wire =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Connection {
    /// Every row of the answer.
    pub fn query(&mut self, sql: &str, given: &[Given<'_>]) -> Result<Vec<tokio_postgres::Row>> {
        let statement = self.prepared(sql, given)?;
        let given: Vec<&(dyn ToSql + Sync)> = given.iter().map(|value| value as _).collect();
        Ok(self
            .driver
            .block_on(self.client.query(&statement, &given))?)
    }

    /// How many rows changed.
    pub fn execute(&mut self, sql: &str, given: &[Given<'_>]) -> Result<u64> {
        let statement = self.prepared(sql, given)?;
        let given: Vec<&(dyn ToSql + Sync)> = given.iter().map(|value| value as _).collect();
        Ok(self
            .driver
            .block_on(self.client.execute(&statement, &given))?)
    }

    /// Statements without values.
    pub fn batch(&mut self, sql: &str) -> Result<()> {
        Ok(self.driver.block_on(self.client.batch_execute(sql))?)
    }

    fn prepared(&mut self, sql: &str, given: &[Given<'_>]) -> Result<Statement> {
        if given
            .iter()
            .any(|value| matches!(value, Given::Text(text) if text.contains('\0')))
        {
            return Err(Error::Precondition(
                "a text with a NUL character cannot be stored".to_owned(),
            ));
        }
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        if self.prepared.len() >= PREPARED {
            self.prepared.clear();
        }
        let types: Vec<Type> = given
            .iter()
            .map(|value| match value {
                Given::Text(_) => Type::TEXT,
                Given::Number(_) => Type::INT8,
                Given::Real(_) => Type::FLOAT8,
            })
            .collect();
        let statement = self
            .driver
            .block_on(self.client.prepare_typed(&numbered(sql), &types))?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// `?1` becomes `$1`, and the n-th `?` without a number becomes `$n`. No statement of this crate has a `?` in a text.
fn numbered(sql: &str) -> String {
    let mut pieces = sql.split('?');
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    for (piece, place) in pieces.zip(1..) {
        numbered.push('$');
        if !piece.starts_with(|next: char| next.is_ascii_digit()) {
            numbered.push_str(&i32::to_string(&place));
        }
        numbered.push_str(piece);
    }
    numbered
}

impl ToSql for Given<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Text(text) => text.as_ref().to_sql(ty, out),
            Self::Number(number) => number.to_sql(ty, out),
            Self::Real(number) => number.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::TEXT, Type::INT8, Type::FLOAT8].contains(ty)
    }

    to_sql_checked!();
}

fn check_version(url: &Url, number: i64, found: String) -> Result<()> {
    if number >= OLDEST {
        return Ok(());
    }
    Err(Unusable::TooOld {
        url: url.clone(),
        found,
    }
    .into())
}

/// Why a connection failed, in words.
fn unusable(url: &Url, source: tokio_postgres::Error) -> Error {
    let url = url.clone();
    let Some(code) = source.code() else {
        let text = objects::chain(&source);
        if text.contains("TLS") || text.contains("certificate") {
            let why = format!(
                "{text}; name the authority with sslrootcert=FILE, or choose another sslmode"
            );
            return Unusable::Untrusted { url, why }.into();
        }
        if text.contains("password missing") {
            return Unusable::Refused { url, source }.into();
        }
        return Unusable::Unreachable { url, source }.into();
    };
    if [
        &SqlState::INVALID_PASSWORD,
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ]
    .contains(&code)
    {
        return Unusable::Refused { url, source }.into();
    }
    if code == &SqlState::INVALID_CATALOG_NAME {
        return Unusable::Missing { url }.into();
    }
    if [
        &SqlState::CANNOT_CONNECT_NOW,
        &SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(&code)
    {
        return Unusable::Unreachable { url, source }.into();
    }
    source.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_get_numbers_where_they_have_none() {
        assert_eq!(
            numbered("a = ?1 AND b = ?12 OR c IN (?2)"),
            "a = $1 AND b = $12 OR c IN ($2)"
        );
        assert_eq!(
            numbered("a = ? AND (b, c) > (?, ?)"),
            "a = $1 AND (b, c) > ($2, $3)"
        );
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }

    #[test]
    fn a_server_that_is_too_old_is_to_be_upgraded() {
        let url: Url = "postgresql://u:s3cret@h/d".parse().unwrap();
        check_version(&url, 150_000, "15.0".to_owned()).unwrap();
        let refusal = check_version(&url, 140_011, "14.11 (Debian)".to_owned()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the database server is PostgreSQL 14.11 (Debian), and 15 is the oldest that is supported (d on h:5432 as u): upgrade the server, or name another"
        );
    }
}
