//! The Kubernetes API on one SQLite file.
//!
//! Identity (`tls`, `authn`), permission (`authz`), the rules of built-in kinds (`kinds`) and what a write
//! must pass (`admission`) are decisions over JSON values; they read other objects only through [`lookup::Lookup`].

pub mod lookup;

pub mod tls;

pub mod authn;

pub mod authz;

pub mod reviews;

pub mod kinds;

pub mod admission;
