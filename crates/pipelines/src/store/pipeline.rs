//! Pipelines and the tags that pipelines and versions carry.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};

use super::list::{self, Compare, Condition, Page, Request};
use super::{Error, Result, found, micros, timestamp, unique};
use crate::catalog::PipelineRecord;

const COLUMNS: &str = "pipeline.id, pipeline.namespace, pipeline.name, pipeline.display_name, pipeline.description, pipeline.created_at";
const KIND: list::Kind = list::Kind {
    table: "pipeline",
    keys: &[
        ("pipeline_id", "id", Compare::Text),
        ("id", "id", Compare::Text),
        ("name", "name", Compare::Text),
        ("display_name", "display_name", Compare::Text),
        ("created_at", "created_at", Compare::Time),
        ("description", "description", Compare::Text),
        ("namespace", "namespace", Compare::Text),
    ],
    has_tags: true,
};

/// Adds a pipeline.
pub fn insert(tx: &Transaction<'_>, pipeline: &PipelineRecord) -> Result<()> {
    let PipelineRecord {
        id,
        namespace,
        name,
        display_name,
        description,
        tags,
        created_at,
    } = pipeline;
    tx.execute(
        "INSERT INTO pipeline (id, namespace, name, display_name, description, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, namespace, name, display_name, description, micros(*created_at)],
    )
    .map_err(unique("pipeline", name))?;
    set_tags(tx, id, tags)
}

/// One pipeline.
pub fn get(db: &Connection, id: &str) -> Result<PipelineRecord> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM pipeline WHERE id = ?1"))?;
    let pipeline = found(
        "pipeline",
        id,
        statement.query_row([id], |row| Ok(read(row))),
    )??;
    with_tags(db, pipeline)
}

/// One pipeline by its unique name.
pub fn get_by_name(db: &Connection, namespace: &str, name: &str) -> Result<PipelineRecord> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM pipeline WHERE namespace = ?1 AND name = ?2"
    ))?;
    let pipeline = found(
        "pipeline",
        name,
        statement.query_row([namespace, name], |row| Ok(read(row))),
    )??;
    with_tags(db, pipeline)
}

/// One page.
pub fn list(
    db: &Connection,
    namespace: Option<&str>,
    request: &Request,
) -> Result<Page<PipelineRecord>> {
    let scope = namespace.map_or_else(Condition::default, |namespace| {
        Condition::default().equals("pipeline.namespace", namespace.to_owned())
    });
    let page = list::page(db, &KIND, COLUMNS, scope, request, |_, _| Ok(None), read)?;
    let items = page
        .items
        .into_iter()
        .map(|pipeline| with_tags(db, pipeline))
        .collect::<Result<_>>()?;
    Ok(Page {
        items,
        total: page.total,
        next_page_token: page.next_page_token,
    })
}

/// Changes what may be changed; what is not given stays.
pub fn update(
    tx: &Transaction<'_>,
    id: &str,
    display_name: Option<&str>,
    tags: Option<&BTreeMap<String, String>>,
) -> Result<()> {
    get(tx, id)?;
    if let Some(display_name) = display_name {
        tx.execute(
            "UPDATE pipeline SET display_name = ?2 WHERE id = ?1",
            params![id, display_name],
        )?;
    }
    tags.map_or(Ok(()), |tags| set_tags(tx, id, tags))
}

/// Removes a pipeline; its versions only when `cascade` says so.
pub fn delete(tx: &Transaction<'_>, id: &str, cascade: bool) -> Result<()> {
    get(tx, id)?;
    let versions: i64 = tx.query_row(
        "SELECT COUNT(*) FROM pipeline_version WHERE pipeline_id = ?1",
        [id],
        |row| row.get(0),
    )?;
    if versions > 0 && !cascade {
        return Err(Error::Precondition(format!(
            "pipeline {id} has {versions} versions: delete them first, or use cascade=true"
        )));
    }
    tx.execute("DELETE FROM tag WHERE owner_id = ?1 OR owner_id IN (SELECT id FROM pipeline_version WHERE pipeline_id = ?1)", [id])?;
    tx.execute("DELETE FROM pipeline_version WHERE pipeline_id = ?1", [id])?;
    tx.execute("DELETE FROM pipeline WHERE id = ?1", [id])?;
    Ok(())
}

/// Replaces all tags of a pipeline or version.
pub fn set_tags(tx: &Transaction<'_>, owner: &str, tags: &BTreeMap<String, String>) -> Result<()> {
    tx.execute("DELETE FROM tag WHERE owner_id = ?1", [owner])?;
    for (key, value) in tags {
        tx.execute(
            "INSERT INTO tag (owner_id, tag_key, tag_value) VALUES (?1, ?2, ?3)",
            params![owner, key, value],
        )?;
    }
    Ok(())
}

/// All tags of a pipeline or version.
pub fn tags(db: &Connection, owner: &str) -> Result<BTreeMap<String, String>> {
    let mut statement =
        db.prepare_cached("SELECT tag_key, tag_value FROM tag WHERE owner_id = ?1")?;
    let tags = statement.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(tags.collect::<rusqlite::Result<_>>()?)
}

fn with_tags(db: &Connection, mut pipeline: PipelineRecord) -> Result<PipelineRecord> {
    pipeline.tags = tags(db, &pipeline.id)?;
    Ok(pipeline)
}

fn read(row: &Row<'_>) -> Result<PipelineRecord> {
    Ok(PipelineRecord {
        id: row.get(0)?,
        namespace: row.get(1)?,
        name: row.get(2)?,
        display_name: row.get(3)?,
        description: row.get(4)?,
        created_at: timestamp(row.get(5)?),
        tags: BTreeMap::new(),
    })
}
