//! The API server in process: every verb through real requests, and the real client on top.

mod client;
mod create;
mod custom;
mod delete;
mod discovery;
mod fanout;
mod list;
mod patch;
mod permission;
mod proxy;
mod rules;
mod server;
mod services;
mod table;
mod update;
mod watch;
