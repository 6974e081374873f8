//! placeholder

pub mod dns;
pub mod holder;
pub mod net;
pub mod relay;
