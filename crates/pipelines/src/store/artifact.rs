//! Artifacts and their links to tasks.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::db::{Db, Given, Row, Tx, given};
use super::list::{self, Compare, Condition, Page, Request};
use super::{Result, from_json, micros, to_json};
use crate::artifact::Artifact;

/// Which side of a task an artifact is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// It went in.
    Input,
    /// It came out.
    Output,
}

impl LinkKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "TASK_OUTPUT_INPUT",
            Self::Output => "OUTPUT",
        }
    }
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Follows from artifact, task, side and key.
    pub id: String,
    /// The artifact.
    pub artifact_id: String,
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The word on the wire.
    pub kind: String,
    /// Input or output name.
    pub key: String,
}

const COLUMNS: &str = "artifact.body";
const KIND: list::Kind = list::Kind {
    table: "artifact",
    keys: &[
        ("artifact_id", "id", Compare::Text),
        ("id", "id", Compare::Text),
        ("name", "name", Compare::Text),
        ("type", "type", Compare::Text),
        ("uri", "uri", Compare::Text),
        ("created_at", "created_at", Compare::Time),
        ("namespace", "namespace", Compare::Text),
    ],
    has_tags: false,
    values: &[],
};
const LINK_COLUMNS: &str = "artifact_task.id, artifact_task.artifact_id, artifact_task.run_id, artifact_task.task_id, artifact_task.type, artifact_task.binding_key";
const LINK_KIND: list::Kind = list::Kind {
    table: "artifact_task",
    keys: &[
        ("id", "id", Compare::Text),
        ("created_at", "created_at", Compare::Time),
        ("artifact_id", "artifact_id", Compare::Text),
        ("run_id", "run_id", Compare::Text),
        ("task_id", "task_id", Compare::Text),
        ("type", "type", Compare::Text),
        ("key", "binding_key", Compare::Text),
    ],
    has_tags: false,
    values: &[],
};

/// Records an artifact; one that is known stays as it is.
pub fn put(tx: &Tx<'_>, namespace: &str, artifact: &Artifact) -> Result<()> {
    tx.execute(
        "INSERT INTO artifact (id, namespace, name, type, uri, created_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
        given![&artifact.id, namespace, &artifact.name, artifact.api_type(), &artifact.uri, micros(artifact.created_at), to_json("artifact", artifact)?],
    )?;
    Ok(())
}

/// Links an artifact to a task.
pub fn link(
    tx: &Tx<'_>,
    artifact: &Artifact,
    run_id: &str,
    task_id: &str,
    kind: LinkKind,
    key: &str,
) -> Result<()> {
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{}/{task_id}/{}/{key}", artifact.id, kind.as_str()).as_bytes(),
    )
    .to_string();
    tx.execute(
        "INSERT INTO artifact_task (id, artifact_id, run_id, task_id, type, binding_key, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
        given![id, &artifact.id, run_id, task_id, kind.as_str(), key, micros(artifact.created_at)],
    )?;
    Ok(())
}

/// One artifact.
pub fn get(db: &Db<'_>, id: &str) -> Result<Artifact> {
    db.one(
        "artifact",
        id,
        "SELECT body FROM artifact WHERE id = ?1",
        given![id],
        read,
    )
}

/// Artifacts with the same address, newest first.
pub fn by_uri(db: &Db<'_>, namespace: &str, uri: &str) -> Result<Vec<Artifact>> {
    db.all(
        "SELECT body FROM artifact WHERE uri = ?1 AND namespace = ?2 ORDER BY created_at DESC, id",
        given![uri, namespace],
        read,
    )
}

/// One page.
pub fn list(db: &Db<'_>, namespace: Option<&str>, request: &Request) -> Result<Page<Artifact>> {
    let scope = namespace.map_or_else(Condition::default, |namespace| {
        Condition::default().equals("artifact.namespace", namespace.to_owned())
    });
    list::page(db, &KIND, COLUMNS, scope, request, |_, _| Ok(None), read)
}

/// One page of links; each condition applies when given.
pub fn list_links(
    db: &Db<'_>,
    artifact_id: Option<&str>,
    run_id: Option<&str>,
    task_id: Option<&str>,
    request: &Request,
) -> Result<Page<Link>> {
    let mut scope = Condition::default();
    for (column, value) in [
        ("artifact_task.artifact_id", artifact_id),
        ("artifact_task.run_id", run_id),
        ("artifact_task.task_id", task_id),
    ] {
        if let Some(value) = value {
            scope = scope.equals(column, value.to_owned());
        }
    }
    list::page(
        db,
        &LINK_KIND,
        LINK_COLUMNS,
        scope,
        request,
        |_, _| Ok(None),
        read_link,
    )
}

/// What steps of these runs reported as metrics, by run. Where several report the same, the last has its say.
pub fn metrics_of_runs(db: &Db<'_>, runs: &[&str]) -> Result<HashMap<String, Map<String, Value>>> {
    let mut found: HashMap<String, Map<String, Value>> = HashMap::new();
    if runs.is_empty() {
        return Ok(found);
    }
    let sql = format!(
        "SELECT artifact_task.run_id, artifact.body FROM artifact_task JOIN artifact ON artifact.id = artifact_task.artifact_id \
         WHERE artifact_task.run_id IN ({}) AND artifact_task.type = 'OUTPUT' AND artifact.type = 'Metric' ORDER BY artifact_task.created_at, artifact_task.id",
        vec!["?"; runs.len()].join(", ")
    );
    let runs: Vec<Given<'_>> = runs.iter().map(|run| Given::from(*run)).collect();
    let reported = db.all(&sql, &runs, |row| {
        Ok((
            row.text(0)?,
            from_json::<Artifact>("artifact", &row.text(1)?)?,
        ))
    })?;
    for (run, artifact) in reported {
        found.entry(run).or_default().extend(artifact.metadata);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Artifact> {
    from_json("artifact", &row.text(0)?)
}

fn read_link(row: &Row<'_>) -> Result<Link> {
    Ok(Link {
        id: row.text(0)?,
        artifact_id: row.text(1)?,
        run_id: row.text(2)?,
        task_id: row.text(3)?,
        kind: row.text(4)?,
        key: row.text(5)?,
    })
}
