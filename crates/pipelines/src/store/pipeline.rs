//! Pipelines: names under which versions of a document are kept.

use std::collections::BTreeMap;

use super::db::{Db, Row, Tx, given};
use super::list::{self, Compare, Condition, Page, Request};
use super::tagged::{Table, Tags, set_tags};
use super::{Error, Result, micros, timestamp, unique};
use crate::catalog::PipelineRecord;

static TABLE: Table<PipelineRecord> = Table {
    kind: list::Kind {
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
        values: &[],
    },
    title: "pipeline",
    columns: "pipeline.id, pipeline.namespace, pipeline.name, pipeline.display_name, pipeline.description, pipeline.created_at",
    read,
};

/// Adds a pipeline.
pub fn insert(tx: &Tx<'_>, pipeline: &PipelineRecord) -> Result<()> {
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
        given![id, namespace, name, display_name, description, micros(*created_at)],
    )
    .map_err(unique("pipeline", name))?;
    set_tags(tx, id, tags)
}

/// One pipeline.
pub fn get(db: &Db<'_>, id: &str) -> Result<PipelineRecord> {
    TABLE.get(db, id)
}

/// One pipeline by its unique name.
pub fn get_by_name(db: &Db<'_>, namespace: &str, name: &str) -> Result<PipelineRecord> {
    TABLE.one(
        db,
        "WHERE namespace = ?1 AND name = ?2",
        given![namespace, name],
        name,
    )
}

/// One page.
pub fn list(
    db: &Db<'_>,
    namespace: Option<&str>,
    request: &Request,
) -> Result<Page<PipelineRecord>> {
    let scope = namespace.map_or_else(Condition::default, |namespace| {
        Condition::default().equals("pipeline.namespace", namespace.to_owned())
    });
    TABLE.page(db, scope, request)
}

/// Changes what may be changed; what is not given stays.
pub fn update(
    tx: &Tx<'_>,
    id: &str,
    display_name: Option<&str>,
    tags: Option<&Tags>,
) -> Result<()> {
    TABLE.update(tx, id, display_name, tags)
}

/// Removes a pipeline; its versions only when `cascade` says so.
pub fn delete(tx: &Tx<'_>, id: &str, cascade: bool) -> Result<()> {
    get(tx, id)?;
    let versions = tx.number(
        "SELECT COUNT(*) FROM pipeline_version WHERE pipeline_id = ?1",
        given![id],
    )?;
    if versions > 0 && !cascade {
        return Err(Error::Precondition(format!(
            "pipeline {id} has {versions} versions: delete them first, or use cascade=true"
        )));
    }
    tx.execute("DELETE FROM tag WHERE owner_id = ?1 OR owner_id IN (SELECT id FROM pipeline_version WHERE pipeline_id = ?1)", given![id])?;
    tx.execute(
        "DELETE FROM pipeline_version WHERE pipeline_id = ?1",
        given![id],
    )?;
    tx.execute("DELETE FROM pipeline WHERE id = ?1", given![id])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<PipelineRecord> {
    Ok(PipelineRecord {
        id: row.text(0)?,
        namespace: row.text(1)?,
        name: row.text(2)?,
        display_name: row.text(3)?,
        description: row.text(4)?,
        created_at: timestamp(row.number(5)?),
        tags: BTreeMap::new(),
    })
}
