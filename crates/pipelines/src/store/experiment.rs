//! Experiments: groups of runs, one of which always exists.

use jiff::Timestamp;

use super::db::{Db, Row, Tx, given};
use super::list::{self, Compare, Condition, Page, Request};
use super::{Error, Result, micros, optional_micros, optional_timestamp, timestamp, unique};
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
pub fn insert(tx: &Tx<'_>, experiment: &Experiment) -> Result<()> {
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
        given![id, namespace, name, description, storage_state(*is_archived), micros(*created_at), optional_micros(*last_run_created_at)],
    )
    .map_err(unique("experiment", name))?;
    Ok(())
}

/// The experiment that takes runs without one, made when it is not there.
pub fn default(tx: &Tx<'_>, namespace: &str, now: Timestamp) -> Result<Experiment> {
    let known = tx.first(
        &format!("SELECT {COLUMNS} FROM experiment WHERE namespace = ?1 AND name = ?2"),
        given![namespace, DEFAULT_NAME],
        read,
    )?;
    match known {
        Some(experiment) => Ok(experiment),
        None => {
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
    }
}

/// One experiment.
pub fn get(db: &Db<'_>, id: &str) -> Result<Experiment> {
    db.one(
        "experiment",
        id,
        &format!("SELECT {COLUMNS} FROM experiment WHERE id = ?1"),
        given![id],
        read,
    )
}

/// One page.
pub fn list(db: &Db<'_>, namespace: Option<&str>, request: &Request) -> Result<Page<Experiment>> {
    let scope = namespace.map_or_else(Condition::default, |namespace| {
        Condition::default().equals("experiment.namespace", namespace.to_owned())
    });
    list::page(db, &KIND, COLUMNS, scope, request, |_, _| Ok(None), read)
}

/// Archives or brings back; archiving takes the runs along.
pub fn set_archived(tx: &Tx<'_>, id: &str, is_archived: bool) -> Result<()> {
    let changed = tx.execute(
        "UPDATE experiment SET storage_state = ?2 WHERE id = ?1",
        given![id, storage_state(is_archived)],
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
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    if get(tx, id)?.name == DEFAULT_NAME {
        return Err(Error::Precondition(
            "the default experiment cannot be deleted".to_owned(),
        ));
    }
    tx.execute("DELETE FROM experiment WHERE id = ?1", given![id])?;
    Ok(())
}

/// The word on the wire and in the table.
pub fn storage_state(is_archived: bool) -> &'static str {
    if is_archived { "ARCHIVED" } else { "AVAILABLE" }
}

fn read(row: &Row<'_>) -> Result<Experiment> {
    Ok(Experiment {
        id: row.text(0)?,
        namespace: row.text(1)?,
        name: row.text(2)?,
        description: row.text(3)?,
        is_archived: row.text(4)? == "ARCHIVED",
        created_at: timestamp(row.number(5)?),
        last_run_created_at: optional_timestamp(row.number(6)?),
    })
}
