//! Results that may be reused: fingerprint to the task that produced them. Only successful executions are recorded.

use jiff::Timestamp;

use super::db::{Db, Tx, given};
use super::{Result, from_json, micros};
use crate::task::Task;

/// Records a task's result; the newest wins.
pub fn put(
    tx: &Tx<'_>,
    namespace: &str,
    pipeline: &str,
    fingerprint: &str,
    task: &Task,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO cache (namespace, pipeline, fingerprint, run_id, task_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (namespace, pipeline, fingerprint) DO UPDATE SET run_id = excluded.run_id, task_id = excluded.task_id, created_at = excluded.created_at",
        given![namespace, pipeline, fingerprint, &task.run_id, &task.id, micros(now)],
    )?;
    Ok(())
}

/// The task whose result may be reused.
pub fn find(
    db: &Db<'_>,
    namespace: &str,
    pipeline: &str,
    fingerprint: &str,
) -> Result<Option<Task>> {
    db.first(
        "SELECT task.body FROM cache JOIN task ON task.id = cache.task_id WHERE cache.namespace = ?1 AND cache.pipeline = ?2 AND cache.fingerprint = ?3",
        given![namespace, pipeline, fingerprint],
        |row| from_json("task", &row.text(0)?),
    )
}

/// The same, whatever the pipeline.
pub fn find_any(db: &Db<'_>, namespace: &str, fingerprint: &str) -> Result<Option<Task>> {
    db.first(
        "SELECT task.body FROM cache JOIN task ON task.id = cache.task_id WHERE cache.namespace = ?1 AND cache.fingerprint = ?2 ORDER BY cache.created_at DESC LIMIT 1",
        given![namespace, fingerprint],
        |row| from_json("task", &row.text(0)?),
    )
}

/// Forgets a result that turned out to be gone.
pub fn forget(tx: &Tx<'_>, namespace: &str, pipeline: &str, fingerprint: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM cache WHERE namespace = ?1 AND pipeline = ?2 AND fingerprint = ?3",
        given![namespace, pipeline, fingerprint],
    )?;
    Ok(())
}
