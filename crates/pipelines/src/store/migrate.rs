//! Numbered, forward-only changes of the schema. Before an existing file is changed it is copied beside itself; a file of
//! a newer version is refused in words.

use std::path::Path;

use rusqlite::Connection;

use super::{Error, Result};

/// In order; the index + 1 is the schema's number. Never edit one that was released.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// Brings the file to the newest schema.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")?;
    let found: i64 = connection.query_row(
        "SELECT COALESCE(MAX(version), 0) FROM schema_version",
        [],
        |row| row.get(0),
    )?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found > 0 && found < known {
        let copy = path.with_extension(format!("v{found}.bak"));
        let _ = std::fs::remove_file(&copy);
        connection.execute("VACUUM INTO ?1", [copy.display().to_string()])?;
        tracing::info!(from = found, to = known, copy = %copy.display(), "migrating the pipelines database");
    }
    for (index, migration) in MIGRATIONS
        .iter()
        .enumerate()
        .skip(usize::try_from(found).unwrap_or_default())
    {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.execute(
            "INSERT INTO schema_version (version) VALUES (?1)",
            [index as i64 + 1],
        )?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_file_of_a_newer_version_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        Store::open(&path)
            .unwrap()
            .write_now(
                |tx| Ok(tx.execute("INSERT INTO schema_version (version) VALUES (999)", [])?),
            )
            .unwrap();
        let refusal = Store::open(&path).err().expect("opened").to_string();
        assert!(
            refusal.contains("has schema 999, this version knows"),
            "{refusal}"
        );
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        drop(Store::open(&path).unwrap());
        let store = Store::open(&path).unwrap();
        let count: i64 = store
            .read_now(|db| {
                Ok(db.query_row("SELECT COUNT(*) FROM schema_version", [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(count, MIGRATIONS.len() as i64);
    }
}
