//! Tasks: a few columns to find them by, and the task itself as JSON.

use super::db::{Db, Tx, given};
use super::notices::Notice;
use super::{Result, from_json, micros, to_json};
use crate::task::Task;

/// Adds or replaces tasks of one run.
pub fn put<'a>(tx: &Tx<'_>, tasks: impl IntoIterator<Item = &'a Task>) -> Result<()> {
    for task in tasks {
        tx.execute(
            "INSERT INTO task (id, run_id, parent_id, name, kind, state, created_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
            given![
                &task.id,
                &task.run_id,
                task.parent_id.as_deref().unwrap_or_default(),
                &task.name,
                task.kind.as_str(),
                task.state.as_str(),
                micros(task.created_at),
                to_json("task", task)?,
            ],
        )?;
        tx.note(Notice::Run(task.run_id.clone()));
    }
    Ok(())
}

/// Forgets tasks, which a retry of the run makes anew.
pub fn remove(tx: &Tx<'_>, ids: &[String]) -> Result<()> {
    for id in ids {
        tx.execute("DELETE FROM artifact_task WHERE task_id = ?1", given![id])?;
        tx.execute("DELETE FROM task WHERE id = ?1", given![id])?;
    }
    Ok(())
}

/// Puts tasks into the order of their start, those that have not begun at the end. Times are told in whole seconds, in
/// which several short steps begin: the order says which came first.
pub fn in_order_of_start(tasks: &mut [Task]) {
    tasks.sort_by_key(|task| (task.started_at.is_none(), task.started_at));
}

/// All tasks of a run, in the order they were made.
pub fn of_run(db: &Db<'_>, run_id: &str) -> Result<Vec<Task>> {
    db.all(
        "SELECT body FROM task WHERE run_id = ?1 ORDER BY created_at, id",
        given![run_id],
        |row| from_json("task", &row.text(0)?),
    )
}

/// One task.
pub fn get(db: &Db<'_>, id: &str) -> Result<Task> {
    db.one(
        "task",
        id,
        "SELECT body FROM task WHERE id = ?1",
        given![id],
        |row| from_json("task", &row.text(0)?),
    )
}

/// How many tasks a run has.
pub fn count(db: &Db<'_>, run_id: &str) -> Result<i64> {
    db.number(
        "SELECT COUNT(*) FROM task WHERE run_id = ?1",
        given![run_id],
    )
}
