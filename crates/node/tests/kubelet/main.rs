//! Pods through the API, as users have them: created, run, watched, asked for logs, deleted. Everything below the client
//! is real: API server, scheduler, kubelet, shims, namespaces.

mod home;
#[path = "../ordinary_user/mod.rs"]
mod ordinary_user;

mod again;
mod archives;
mod components;
mod health;
mod inside;
mod life;
mod packages;
mod port;
mod registry;
mod streams;
mod token_server;
