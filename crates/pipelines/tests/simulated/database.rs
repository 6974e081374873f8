//! Where these tests keep their runs: a SQLite file. (`tests/postgresql` runs the same tests on a server.)

use std::path::Path;
use std::sync::Arc;

use pipelines::store::{Db, Result, Store};

/// Rows that stand for a million.
pub const MANY: i64 = 20_000;

pub async fn open(folder: &Path) -> Arc<Store> {
    Store::open(&folder.join("p.db")).unwrap()
}

/// How the database means to answer.
pub fn plan(db: &Db<'_>, sql: &str) -> Result<Vec<String>> {
    db.all(&format!("EXPLAIN QUERY PLAN {sql}"), &[], |row| row.text(3))
}

/// Whether it reads no more rows than it gives, in the order in which they lie.
pub fn follows_an_index(plan: &[String]) -> bool {
    plan.iter().all(|line| {
        line.contains("USING") && !line.contains("SCAN run") && !line.contains("TEMP B-TREE")
    })
}
