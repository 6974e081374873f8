//! Runs. Lists read straight off an index; totals of the usual lists come from a counter kept beside the rows.

use jiff::Timestamp;

use super::db::{Db, Row, Tx, given};
use super::experiment::storage_state;
use super::list::{self, Compare, Condition, Operand, Operation, Page, Predicate, Request, Scalar};
use super::notices::Notice;
use super::value::Values;
use super::{
    Error, Result, from_json, micros, optional_micros, optional_timestamp, timestamp, to_json,
};
use crate::run::{Run, RunState};

const COLUMNS: &str = "run.id, run.namespace, run.experiment_id, run.display_name, run.description, run.storage_state, run.state, run.state_history, run.error, \
    run.created_at, run.scheduled_at, run.finished_at, run.pipeline_id, run.pipeline_version_id, run.spec_hash, run.parameters, run.pipeline_root, \
    run.service_account, run.plugins_input, run.resource_name, run.shared_paths";
const KIND: list::Kind = list::Kind {
    table: "run",
    keys: &[
        ("run_id", "id", Compare::Text),
        ("id", "id", Compare::Text),
        ("display_name", "display_name", Compare::Text),
        ("name", "display_name", Compare::Text),
        ("created_at", "created_at", Compare::Time),
        ("finished_at", "finished_at", Compare::Time),
        ("scheduled_at", "scheduled_at", Compare::Time),
        ("description", "description", Compare::Text),
        ("storage_state", "storage_state", Compare::Text),
        ("status", "state", Compare::Text),
        ("state", "state", Compare::Text),
        ("state_history", "state_history", Compare::Text),
        ("namespace", "namespace", Compare::Text),
        ("experiment_id", "experiment_id", Compare::Text),
        ("recurring_run_id", "recurring_run_id", Compare::Text),
        ("runtime_details", "state_history", Compare::Text),
        ("pipeline_id", "pipeline_id", Compare::Text),
        ("pipeline_version_id", "pipeline_version_id", Compare::Text),
    ],
    has_tags: false,
    values: &[
        Values {
            prefix: "parameters.",
            document: "run.parameters",
            field: "",
            rows: None,
        },
        Values {
            prefix: "metrics.",
            document: "artifact.body",
            field: "metadata",
            rows: Some((
                "FROM artifact_task JOIN artifact ON artifact.id = artifact_task.artifact_id \
                 WHERE artifact_task.run_id = run.id AND artifact_task.type = 'OUTPUT' AND artifact.type = 'Metric'",
                "ORDER BY artifact_task.created_at DESC, artifact_task.id DESC",
            )),
        },
    ],
};

/// Adds a run.
pub fn insert(tx: &Tx<'_>, run: &Run) -> Result<()> {
    tx.execute(
        "INSERT INTO run (id, namespace, experiment_id, display_name, description, storage_state, state, state_history, error, created_at, scheduled_at, \
         finished_at, pipeline_id, pipeline_version_id, recurring_run_id, spec_hash, parameters, pipeline_root, service_account, plugins_input, resource_name, shared_paths) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, '', ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        given![
        &run.id,
        &run.namespace,
        &run.experiment_id,
        &run.display_name,
        &run.description,
        storage_state(run.is_archived),
        run.state.as_str(),
        to_json("state history", &run.state_history)?,
        to_json("error", &run.error)?,
        micros(run.created_at),
        micros(run.scheduled_at),
        optional_micros(run.finished_at),
        &run.pipeline_id,
        &run.pipeline_version_id,
        &run.spec_hash,
        to_json("parameters", &run.parameters)?,
        &run.pipeline_root,
        &run.service_account,
        to_json("plugin settings", &run.plugins_input)?,
        &run.resource_name,
        to_json("shared paths", &run.shared_paths)?,
    ])?;
    tx.execute(
        "UPDATE experiment SET last_run_created_at = ?2 WHERE id = ?1",
        given![&run.experiment_id, micros(run.created_at)],
    )?;
    tx.note(Notice::Run(run.id.clone()));
    count(
        tx,
        &run.namespace,
        &run.experiment_id,
        storage_state(run.is_archived),
        1,
    )
}

/// Writes what the engine changes about a run.
pub fn update(tx: &Tx<'_>, run: &Run) -> Result<()> {
    tx.execute("UPDATE run SET state = ?2, state_history = ?3, error = ?4, finished_at = ?5, shared_paths = ?6 WHERE id = ?1", given![
        &run.id,
        run.state.as_str(),
        to_json("state history", &run.state_history)?,
        to_json("error", &run.error)?,
        optional_micros(run.finished_at),
        to_json("shared paths", &run.shared_paths)?,
    ])?;
    tx.note(Notice::Run(run.id.clone()));
    Ok(())
}

/// One run.
pub fn get(db: &Db<'_>, id: &str) -> Result<Run> {
    db.one(
        "run",
        id,
        &format!("SELECT {COLUMNS} FROM run WHERE id = ?1"),
        given![id],
        read,
    )
}

/// One page.
pub fn list(
    db: &Db<'_>,
    namespace: Option<&str>,
    experiment_id: Option<&str>,
    request: &Request,
) -> Result<Page<Run>> {
    let mut scope = Condition::default();
    if let Some(namespace) = namespace {
        scope = scope.equals("run.namespace", namespace.to_owned());
    }
    if let Some(experiment) = experiment_id {
        scope = scope.equals("run.experiment_id", experiment.to_owned());
    }
    let counted =
        |db: &Db<'_>, predicates: &[Predicate]| counted(db, namespace, experiment_id, predicates);
    list::page(db, &KIND, COLUMNS, scope, request, counted, read)
}

/// Ids of the runs that are not final, oldest first.
pub fn active(db: &Db<'_>) -> Result<Vec<String>> {
    db.all(
        "SELECT id FROM run WHERE state IN ('PENDING', 'RUNNING', 'CANCELING') ORDER BY created_at, id",
        given![],
        |row| row.text(0),
    )
}

/// Archives a run or brings it back.
pub fn set_archived(tx: &Tx<'_>, id: &str, is_archived: bool) -> Result<()> {
    let run = get(tx, id)?;
    if run.is_archived == is_archived {
        return Ok(());
    }
    if !is_archived
        && super::experiment::get(tx, &run.experiment_id)
            .is_ok_and(|experiment| experiment.is_archived)
    {
        return Err(Error::Precondition(format!(
            "run {id} belongs to an archived experiment: unarchive experiment {} first",
            run.experiment_id
        )));
    }
    tx.execute(
        "UPDATE run SET storage_state = ?2 WHERE id = ?1",
        given![id, storage_state(is_archived)],
    )?;
    tx.note(Notice::Run(id.to_owned()));
    count(
        tx,
        &run.namespace,
        &run.experiment_id,
        storage_state(run.is_archived),
        -1,
    )?;
    count(
        tx,
        &run.namespace,
        &run.experiment_id,
        storage_state(is_archived),
        1,
    )
}

/// Archives every run of an experiment.
pub fn archive_all(tx: &Tx<'_>, experiment_id: &str) -> Result<()> {
    tx.execute(
        "UPDATE run SET storage_state = 'ARCHIVED' WHERE experiment_id = ?1",
        given![experiment_id],
    )?;
    tx.execute(
        "INSERT INTO run_count (namespace, experiment_id, storage_state, runs) \
         SELECT namespace, experiment_id, 'ARCHIVED', COUNT(*) FROM run WHERE experiment_id = ?1 GROUP BY namespace, experiment_id \
         ON CONFLICT (namespace, experiment_id, storage_state) DO UPDATE SET runs = excluded.runs",
        given![experiment_id],
    )?;
    tx.execute(
        "UPDATE run_count SET runs = 0 WHERE experiment_id = ?1 AND storage_state <> 'ARCHIVED'",
        given![experiment_id],
    )?;
    Ok(())
}

/// Removes a run with everything that hangs on it. Artifacts stay: other runs may have taken them over.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    let run = get(tx, id)?;
    for statement in [
        "DELETE FROM cache WHERE run_id = ?1",
        "DELETE FROM artifact_task WHERE run_id = ?1",
        "DELETE FROM task WHERE run_id = ?1",
        "DELETE FROM run WHERE id = ?1",
    ] {
        tx.execute(statement, given![id])?;
    }
    tx.note(Notice::Run(id.to_owned()));
    count(
        tx,
        &run.namespace,
        &run.experiment_id,
        storage_state(run.is_archived),
        -1,
    )
}

fn count(
    tx: &Tx<'_>,
    namespace: &str,
    experiment_id: &str,
    storage_state: &str,
    by: i64,
) -> Result<()> {
    tx.execute(
        "INSERT INTO run_count (namespace, experiment_id, storage_state, runs) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (namespace, experiment_id, storage_state) DO UPDATE SET runs = run_count.runs + excluded.runs",
        given![namespace, experiment_id, storage_state, by],
    )?;
    Ok(())
}

/// The total from the counter, when nothing but namespace, experiment and storage state is asked about.
fn counted(
    db: &Db<'_>,
    namespace: Option<&str>,
    experiment_id: Option<&str>,
    predicates: &[Predicate],
) -> Result<Option<i64>> {
    let is_wanted = |state: &str| -> Option<bool> {
        predicates.iter().try_fold(true, |so_far, predicate| {
            let Operand::One(Scalar::Text(value)) = &predicate.operand else {
                return None;
            };
            let matches = match (predicate.key.as_str(), predicate.operation) {
                ("storage_state", Operation::Equals) => value == state,
                ("storage_state", Operation::NotEquals) => value != state,
                _ => return None,
            };
            Some(so_far && matches)
        })
    };
    let mut total = 0;
    for state in ["AVAILABLE", "ARCHIVED"] {
        match is_wanted(state) {
            None => return Ok(None),
            Some(false) => {}
            Some(true) => {
                let mut scope = Condition::default().equals("storage_state", state);
                for (column, value) in [("namespace", namespace), ("experiment_id", experiment_id)]
                {
                    if let Some(value) = value {
                        scope = scope.equals(column, value.to_owned());
                    }
                }
                total += scope.number(
                    db,
                    "SELECT CAST(COALESCE(SUM(runs), 0) AS BIGINT) FROM run_count",
                )?;
            }
        }
    }
    Ok(Some(total))
}

fn read(row: &Row<'_>) -> Result<Run> {
    let text = |index: usize| row.text(index);
    let at = |index: usize| row.number(index);
    let created_at: Timestamp = timestamp(at(9)?);
    Ok(Run {
        id: text(0)?,
        namespace: text(1)?,
        experiment_id: text(2)?,
        display_name: text(3)?,
        description: text(4)?,
        is_archived: text(5)? == "ARCHIVED",
        state: RunState::parse(&text(6)?).unwrap_or(RunState::Failed),
        state_history: from_json("state history", &text(7)?)?,
        error: from_json("error", &text(8)?)?,
        created_at,
        scheduled_at: timestamp(at(10)?),
        finished_at: optional_timestamp(at(11)?),
        pipeline_id: text(12)?,
        pipeline_version_id: text(13)?,
        spec_hash: text(14)?,
        parameters: from_json("parameters", &text(15)?)?,
        pipeline_root: text(16)?,
        service_account: text(17)?,
        plugins_input: from_json("plugin settings", &text(18)?)?,
        resource_name: text(19)?,
        shared_paths: from_json("shared paths", &text(20)?)?,
    })
}
