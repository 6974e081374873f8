//! Experiments: groups of runs, one of which always exists.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::list::{self, Compare, Condition, Page, Request};
use super::{Error, Result, found, micros, optional_micros, optional_timestamp, timestamp, unique};
use crate::catalog::Experiment;

/// The one that takes runs without an experiment.
pub const DEFAULT_NAME: &str = "Default";
const COLUMNS: &str = "experiment.id, experiment.namespace, experiment.name, experiment.description, experiment.storage_state, experiment.created_at, experiment.last_run_created_at";
const KIND: list::Kind = list::Kind {
    table: "experiment",
    keys: &[
        ("experiment_id", "id", Compare::Text),
        ("id", "id", Compare::Text),
        ("name", "name", Compare::Text),
        ("display_name", "name", Compare::Text),
        ("created_at", "created_at", Compare::Time),
        ("last_run_created_at", "last_run_created_at", Compare::Time),
        ("description", "description", Compare::Text),
        ("namespace", "namespace", Compare::Text),
        ("storage_state", "storage_state", Compare::Text),
    ],
    has_tags: false,
    values: &[],
};

/// Adds an experiment.
pub fn insert(tx: &Transaction<'_>, experiment: &Experiment) -> Result<()> {
    let Experiment {
        id,
        namespace,
        name,
        description,
        created_at,
        is_archived,
        last_run_created_at,
    } = experiment;
    tx.execute(
        "INSERT INTO experiment (id, namespace, name, description, storage_state, created_at, last_run_created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id, namespace, name, description, storage_state(*is_archived), micros(*created_at), optional_micros(*last_run_created_at)],
    )
    .map_err(unique("experiment", name))?;
    Ok(())
}

/// The experiment that takes runs without one, made when it is not there.
pub fn default(tx: &Transaction<'_>, namespace: &str, now: Timestamp) -> Result<Experiment> {
    let known = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM experiment WHERE namespace = ?1 AND name = ?2"
        ))?
        .query_row(params![namespace, DEFAULT_NAME], |row| Ok(read(row)));
    match found("experiment", DEFAULT_NAME, known) {
        Ok(experiment) => experiment,
        Err(Error::NotFound { .. }) => {
            let experiment = Experiment {
                id: uuid::Uuid::new_v4().to_string(),
                namespace: namespace.to_owned(),
                name: DEFAULT_NAME.to_owned(),
                description:
                    "All runs created without specifying an experiment will be grouped here."
                        .to_owned(),
                created_at: now,
                is_archived: false,
                last_run_created_at: None,
            };
            insert(tx, &experiment)?;
            Ok(experiment)
        }
        Err(other) => Err(other),
    }
}

/// One experiment.
pub fn get(db: &Connection, id: &str) -> Result<Experiment> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM experiment WHERE id = ?1"))?;
    found(
        "experiment",
        id,
        statement.query_row([id], |row| Ok(read(row))),
    )?
}

/// One page.
pub fn list(
    db: &Connection,
    namespace: Option<&str>,
    request: &Request,
) -> Result<Page<Experiment>> {
    let scope = namespace.map_or_else(Condition::default, |namespace| {
        Condition::default().equals("experiment.namespace", namespace.to_owned())
    });
    list::page(db, &KIND, COLUMNS, scope, request, |_, _| Ok(None), read)
}

/// Archives or brings back; archiving takes the runs along.
pub fn set_archived(tx: &Transaction<'_>, id: &str, is_archived: bool) -> Result<()> {
    let changed = tx.execute(
        "UPDATE experiment SET storage_state = ?2 WHERE id = ?1",
        params![id, storage_state(is_archived)],
    )?;
    if changed == 0 {
        return Err(Error::NotFound {
            kind: "experiment",
            id: id.to_owned(),
        });
    }
    if is_archived {
        super::run::archive_all(tx, id)
    } else {
        Ok(())
    }
}

/// Removes an experiment; its runs stay.
pub fn delete(tx: &Transaction<'_>, id: &str) -> Result<()> {
    if get(tx, id)?.name == DEFAULT_NAME {
        return Err(Error::Precondition(
            "the default experiment cannot be deleted".to_owned(),
        ));
    }
    tx.execute("DELETE FROM experiment WHERE id = ?1", [id])?;
    Ok(())
}

/// The word on the wire and in the table.
pub fn storage_state(is_archived: bool) -> &'static str {
    if is_archived { "ARCHIVED" } else { "AVAILABLE" }
}

fn read(row: &Row<'_>) -> Result<Experiment> {
    Ok(Experiment {
        id: row.get(0)?,
        namespace: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        is_archived: row.get::<_, String>(4)? == "ARCHIVED",
        created_at: timestamp(row.get(5)?),
        last_run_created_at: optional_timestamp(row.get(6)?),
    })
}
