//! What `tests/simulated` promises with a SQLite file holds with a PostgreSQL server too: the very same tests, and what only
//! a server can do wrong.

mod connecting;
mod database;
mod postgres;
mod replicas;

#[path = "../simulated/compiled.rs"]
mod compiled;
#[path = "../simulated/described.rs"]
mod described;
#[path = "../simulated/lists.rs"]
mod lists;
#[path = "../cluster/node.rs"]
mod node;
#[allow(
    dead_code,
    reason = "the other tests start and end their component by it"
)]
#[path = "../cluster/platform.rs"]
mod platform;
#[path = "../simulated/played.rs"]
mod played;
#[path = "../simulated/runs.rs"]
mod runs;
#[path = "../simulated/server.rs"]
mod server;
#[path = "../simulated/uploads.rs"]
mod uploads;
