//! Numbered, forward-only changes of the schema, the same files for both databases. Before an existing SQLite file is
//! changed it is copied beside itself; a database of a newer version is refused in words.

use std::path::Path;

use super::db::{Db, Tx, given};
use super::{Error, Result};

/// In order; the index + 1 is the schema's number. Never edit one that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
];

/// The number of the newest schema.
pub(super) fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Brings a SQLite file to a schema.
pub(super) fn file(connection: &mut rusqlite::Connection, path: &Path, wanted: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    let found = found(
        &Tx::new(Db::sqlite(&transaction)),
        &path.display().to_string(),
    )?;
    transaction.commit()?;
    if found > 0 && found < wanted {
        let copy = path.with_extension(format!("v{found}.bak"));
        let _ = std::fs::remove_file(&copy);
        connection.execute("VACUUM INTO ?1", [copy.display().to_string()])?;
        tracing::info!(copy = %copy.display(), "copied the pipelines database before it is migrated");
    }
    let transaction = connection.transaction()?;
    forward(
        &Tx::new(Db::sqlite(&transaction)),
        found,
        wanted,
        str::to_owned,
    )?;
    Ok(transaction.commit()?)
}

/// Brings a PostgreSQL database to a schema; `name` is what it is called in messages.
pub(super) fn database(tx: &Tx<'_>, name: &str, wanted: i64) -> Result<()> {
    let found = found(tx, name)?;
    forward(tx, found, wanted, in_order_of_bytes)
}

/// Text is compared by its bytes, as SQLite does, whatever the locale of the database.
fn in_order_of_bytes(migration: &str) -> String {
    migration.replace(" TEXT", " TEXT COLLATE \"C\"")
}

fn found(tx: &Tx<'_>, name: &str) -> Result<i64> {
    tx.batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")?;
    let found = tx.number(
        "SELECT COALESCE(MAX(version), 0) FROM schema_version",
        given![],
    )?;
    if found > newest() {
        return Err(Error::Newer {
            database: name.to_owned(),
            found,
            known: newest(),
        });
    }
    Ok(found)
}

fn forward(tx: &Tx<'_>, found: i64, wanted: i64, spoken: fn(&str) -> String) -> Result<()> {
    let numbered = (1..).zip(MIGRATIONS);
    for (number, migration) in numbered.filter(|(number, _)| (found + 1..=wanted).contains(number))
    {
        tx.batch(&spoken(migration))?;
        tx.execute(
            "INSERT INTO schema_version (version) VALUES (?1)",
            given![number],
        )?;
    }
    if found > 0 && found < wanted {
        tracing::info!(from = found, to = wanted, "migrated the pipelines database");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::opened::{Place, both, places};

    /// Every column and every index, as the database tells them.
    fn schema(place: &Place, store: &Store) -> Vec<String> {
        let sql = match place {
            Place::File(_) => {
                "SELECT m.name || ' ' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk AS line FROM sqlite_master m, pragma_table_info(m.name) c \
                UNION SELECT name || ' ' || COALESCE(sql, '') FROM sqlite_master WHERE type = 'index' ORDER BY line"
            }
            Place::Server(_) => {
                "SELECT (table_name || ' ' || column_name || ' ' || data_type || ' ' || COALESCE(collation_name, '') || ' ' || is_nullable)::text AS line \
                FROM information_schema.columns WHERE table_schema = 'public' UNION SELECT indexdef::text FROM pg_indexes WHERE schemaname = 'public' ORDER BY line"
            }
        };
        store
            .read_now(|db| db.all(sql, given![], |row| row.text(0)))
            .unwrap()
    }

    #[test]
    fn every_earlier_schema_becomes_the_newest_and_keeps_its_rows() {
        let [(file, on_file), (server, on_server)] = both();
        let fresh = [schema(&file, &on_file), schema(&server, &on_server)];
        for earlier in 1..=newest() {
            for (place, fresh) in places().iter().zip(&fresh) {
                let store = place.open(earlier).unwrap();
                store
                    .write_now(|tx| {
                        tx.execute(
                            "INSERT INTO spec (hash, document) VALUES (?1, ?2)",
                            given!["a", "{}"],
                        )
                    })
                    .unwrap();
                drop(store);
                let store = place.open(newest()).unwrap();
                assert_eq!(&schema(place, &store), fresh, "from {earlier}");
                let rows = store
                    .read_now(|db| db.number("SELECT COUNT(*) FROM spec", given![]))
                    .unwrap();
                assert_eq!(rows, 1);
            }
        }
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused_in_words() {
        for (place, store) in both() {
            store
                .write_now(|tx| {
                    tx.execute(
                        "INSERT INTO schema_version (version) VALUES (999)",
                        given![],
                    )
                })
                .unwrap();
            let refusal = place.open(newest()).err().expect("opened").to_string();
            assert!(
                refusal.contains("has schema 999, this version knows"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_damaged_file_is_named_with_the_remedy_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        let damage = "no database at all ".repeat(500);
        std::fs::write(&path, &damage).unwrap();
        let refusal = Store::open(&path).err().expect("opened").to_string();
        assert!(refusal.contains("p.db is damaged; restore it"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
    }

    #[test]
    fn opening_twice_changes_nothing() {
        for (place, store) in both() {
            drop(store);
            let store = place.open(newest()).unwrap();
            let count = store
                .read_now(|db| db.number("SELECT COUNT(*) FROM schema_version", given![]))
                .unwrap();
            assert_eq!(count, newest());
        }
    }
}
