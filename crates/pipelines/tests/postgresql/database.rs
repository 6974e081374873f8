//! Where these tests keep their runs: a PostgreSQL server, in a database for each.

use std::path::Path;
use std::sync::Arc;

use pipelines::store::{Db, Result, Store};

use super::postgres;

/// Rows that stand for a million; each takes its way to the server.
pub const MANY: i64 = 2_000;

pub async fn open(_: &Path) -> Arc<Store> {
    let url = tokio::task::spawn_blocking(|| postgres::server().database());
    Store::connect(url.await.unwrap().parse().unwrap())
        .await
        .unwrap()
}

/// How the database means to answer when there are many rows: with few it reads and sorts them all, unless told not to. A
/// plan without an index would sort all the same.
pub fn plan(db: &Db<'_>, sql: &str) -> Result<Vec<String>> {
    for habit in ["enable_seqscan", "enable_bitmapscan", "enable_sort"] {
        db.all(&format!("SET LOCAL {habit} = off"), &[], |_| Ok(()))?;
    }
    db.all(&format!("EXPLAIN {sql}"), &[], |row| row.text(0))
}

/// Whether it reads no more rows than it gives, in the order in which they lie.
pub fn follows_an_index(plan: &[String]) -> bool {
    plan.iter().any(|line| line.contains("Index"))
        && plan
            .iter()
            .all(|line| !line.contains("Seq Scan") && !line.contains("Sort"))
}
