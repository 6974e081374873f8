//! Tasks: a few columns to find them by, and the task itself as JSON.

use rusqlite::{Connection, Transaction, params};

use super::{Result, found, from_json, micros, to_json};
use crate::task::Task;

/// Adds or replaces tasks of one run.
pub fn put<'a>(tx: &Transaction<'_>, tasks: impl IntoIterator<Item = &'a Task>) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO task (id, run_id, parent_id, name, kind, state, created_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
    )?;
    for task in tasks {
        statement.execute(params![
            task.id,
            task.run_id,
            task.parent_id.as_deref().unwrap_or_default(),
            task.name,
            task.kind.as_str(),
            task.state.as_str(),
            micros(task.created_at),
            to_json("task", task)?,
        ])?;
    }
    Ok(())
}

/// Forgets tasks, which a retry of the run makes anew.
pub fn remove(tx: &Transaction<'_>, ids: &[String]) -> Result<()> {
    for id in ids {
        tx.prepare_cached("DELETE FROM artifact_task WHERE task_id = ?1")?
            .execute([id])?;
        tx.prepare_cached("DELETE FROM task WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(())
}

/// Puts tasks into the order of their start, those that have not begun at the end. Times are told in whole seconds, in
/// which several short steps begin: the order says which came first.
pub fn in_order_of_start(tasks: &mut [Task]) {
    tasks.sort_by_key(|task| (task.started_at.is_none(), task.started_at));
}

/// All tasks of a run, in the order they were made.
pub fn of_run(db: &Connection, run_id: &str) -> Result<Vec<Task>> {
    let mut statement =
        db.prepare_cached("SELECT body FROM task WHERE run_id = ?1 ORDER BY created_at, id")?;
    let bodies = statement.query_map([run_id], |row| row.get::<_, String>(0))?;
    bodies.map(|body| from_json("task", &body?)).collect()
}

/// One task.
pub fn get(db: &Connection, id: &str) -> Result<Task> {
    let mut statement = db.prepare_cached("SELECT body FROM task WHERE id = ?1")?;
    let body: String = found("task", id, statement.query_row([id], |row| row.get(0)))?;
    from_json("task", &body)
}

/// How many tasks a run has.
pub fn count(db: &Connection, run_id: &str) -> Result<i64> {
    Ok(db
        .prepare_cached("SELECT COUNT(*) FROM task WHERE run_id = ?1")?
        .query_row([run_id], |row| row.get(0))?)
}
