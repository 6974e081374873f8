//! The API and the engine in this process, with steps that are played: every compiled test pipeline runs to what its source
//! expects of it, and the API keeps its promises.

mod compiled;
mod database;
mod described;
mod lists;
mod played;
mod runs;
mod server;
mod uploads;
