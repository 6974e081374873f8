//! Pods through the API, as users have them: created, run, watched, asked for logs, deleted. Everything below the client
//! is real: API server, scheduler, kubelet, shims, namespaces.

mod home;

mod archives;
mod components;
mod health;
mod inside;
mod life;
mod owner;
mod packages;
mod streams;
