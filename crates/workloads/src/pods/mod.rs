//! What controllers ask about pods, how they make them from templates, and how they create many at once.

pub mod claim;
pub mod create;
pub mod state;
pub mod template;
