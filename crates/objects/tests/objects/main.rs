//! The object model from outside: whole kinds, whole flows, invariants.

mod kinds;

mod apply;
mod builtin;
mod custom;
mod invariants;
