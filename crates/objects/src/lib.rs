//! The JSON object model of Kubernetes as pure functions on `serde_json::Value`.
//!
//! Keeps true: what an object means (names, selectors, quantities, schemas, patches, ownership of fields) is decided
//! here once, for built-in kinds and custom resources alike. Leaves to others: storage, transport, clocks, randomness.

pub mod bearer;
pub mod causes;
pub mod gvk;
pub mod status;

pub mod field;
pub mod meta;
pub mod names;

pub mod quantity;
pub mod selector;

pub mod builtin;
pub mod schema;

pub mod apply;
pub mod patch;

pub mod jsonpath;
pub mod yaml;

pub use bearer::bearer_token;
pub use causes::chain;
pub use field::FieldError;
pub use gvk::{GroupVersion, Gvk, Gvr};
pub use quantity::Quantity;
pub use schema::Schema;
pub use status::Status;
