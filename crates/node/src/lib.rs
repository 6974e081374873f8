//! placeholder

pub mod shim;
