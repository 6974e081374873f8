//! Managed Python: interpreters of this machine, environments built once and shared read-only, and the small layer
//! that makes each container's own Python writable.

mod environments;
mod install;
mod interpreters;
mod layer;

pub use environments::{Environment, Environments, Error, Recipe};
pub use install::{Install, installs, is_plain_requirement};
pub use interpreters::{Choice, Interpreter, USUAL, choose, find};
pub use layer::{LAYER, SHARED, search_path, write as write_layer};
