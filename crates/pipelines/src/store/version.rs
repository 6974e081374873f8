//! Versions of pipelines: immutable documents under a name.

use std::collections::BTreeMap;

use super::db::{Db, Row, Tx, given};
use super::list::{self, Compare, Condition, Page, Request};
use super::tagged::{Table, Tags, set_tags};
use super::{Error, Result, micros, timestamp, unique};
use crate::catalog::VersionRecord;

static TABLE: Table<VersionRecord> = Table {
    kind: list::Kind {
        table: "pipeline_version",
        keys: &[
            ("pipeline_version_id", "id", Compare::Text),
            ("id", "id", Compare::Text),
            ("name", "name", Compare::Text),
            ("display_name", "display_name", Compare::Text),
            ("created_at", "created_at", Compare::Time),
            ("description", "description", Compare::Text),
            ("pipeline_spec", "spec_hash", Compare::Text),
            ("status", "name", Compare::Text),
        ],
        has_tags: true,
        values: &[],
    },
    title: "pipeline version",
    columns: "pipeline_version.id, pipeline_version.pipeline_id, pipeline_version.name, pipeline_version.display_name, pipeline_version.description, \
        pipeline_version.code_source_url, pipeline_version.package_url, pipeline_version.spec_hash, pipeline_version.created_at",
    read,
};

/// Adds a version.
pub fn insert(tx: &Tx<'_>, version: &VersionRecord) -> Result<()> {
    let VersionRecord {
        id,
        pipeline_id,
        name,
        display_name,
        description,
        tags,
        code_source_url,
        package_url,
        spec_hash,
        created_at,
    } = version;
    super::pipeline::get(tx, pipeline_id)?;
    tx.execute(
        "INSERT INTO pipeline_version (id, pipeline_id, name, display_name, description, code_source_url, package_url, spec_hash, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        given![id, pipeline_id, name, display_name, description, code_source_url, package_url, spec_hash, micros(*created_at)],
    )
    .map_err(unique("pipeline version", name))?;
    set_tags(tx, id, tags)
}

/// One version; upstream's tests read it through any pipeline's id.
pub fn get(db: &Db<'_>, id: &str) -> Result<VersionRecord> {
    TABLE.get(db, id)
}

/// The newest version of a pipeline.
pub fn latest(db: &Db<'_>, pipeline_id: &str) -> Result<VersionRecord> {
    TABLE.one(
        db,
        "WHERE pipeline_id = ?1 ORDER BY created_at DESC, id DESC LIMIT 1",
        given![pipeline_id],
        &format!("of pipeline {pipeline_id}"),
    )
}

/// One page.
pub fn list(db: &Db<'_>, pipeline_id: &str, request: &Request) -> Result<Page<VersionRecord>> {
    let scope = Condition::default().equals("pipeline_version.pipeline_id", pipeline_id.to_owned());
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

/// Removes a version.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    if tx.execute("DELETE FROM pipeline_version WHERE id = ?1", given![id])? == 0 {
        return Err(Error::NotFound {
            kind: "pipeline version",
            id: id.to_owned(),
        });
    }
    tx.execute("DELETE FROM tag WHERE owner_id = ?1", given![id])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<VersionRecord> {
    Ok(VersionRecord {
        id: row.text(0)?,
        pipeline_id: row.text(1)?,
        name: row.text(2)?,
        display_name: row.text(3)?,
        description: row.text(4)?,
        code_source_url: row.text(5)?,
        package_url: row.text(6)?,
        spec_hash: row.text(7)?,
        created_at: timestamp(row.number(8)?),
        tags: BTreeMap::new(),
    })
}
