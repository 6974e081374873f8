//! From an HTTP request to a verb and back: paths, parameters, bodies, negotiation, answers.

pub mod accept;
pub mod body;
pub mod path;
pub mod protobuf;
pub mod query;
pub mod reply;
pub mod service;
