//! The run engine: one machine per run that is not final, one task that feeds them all.

pub mod driver;
pub mod machine;
pub mod step;
