//! Two ends of a connection, and one end against a peer that is only bytes.

mod arbitrary;
mod streams;
