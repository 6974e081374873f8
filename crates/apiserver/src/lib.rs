//! The Kubernetes API on one SQLite file.
//!
//! Objects stay JSON; every verb is written once, generic over a record of its resource. Reads come from immutable
//! snapshots, writes go through one writer. Identity (`tls`, `authn`), permission (`authz`), the rules of built-in kinds
//! (`kinds`) and what a write must pass (`admission`) are decisions over JSON values; they read other objects only
//! through [`lookup::Lookup`]. Knows nothing of what controllers do with the objects.

mod config;
mod server;

mod aggregation;
pub mod api;
pub mod backend;
mod bootstrap;
mod cleanup;
pub mod discovery;
mod expiry;
pub mod http;
pub mod metrics;
pub mod services;
pub mod streaming;
pub mod subresources;
pub mod table;
mod turns;
pub mod verbs;

pub mod conversion;
pub mod error;
pub mod registry;
pub mod store;

pub mod lookup;

pub mod tls;

pub mod authn;

pub mod authz;

pub mod reviews;

pub mod kinds;

pub mod admission;

pub use backend::Backend;
pub use config::Config;
pub use server::{ApiServer, Error};
