//! Who owns which fields: server-side apply, and the bookkeeping of `metadata.managedFields` on every other write.
//! Mirrors structured-merge-diff and the field manager of apimachinery 1.33, on JSON and for one version per object.

mod path;
mod set;

mod fields_v1;
mod managers;

mod compare;
mod merge;
mod owned;
mod remove;

mod conflict;
mod last_applied;
mod update;

use serde_json::Value;

pub use conflict::Conflict;
pub use path::{Path, PathElement};
pub use set::FieldSet;

use crate::schema::Schema;
use crate::status::Status;

/// Why an apply was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other managers own what the applied configuration changes; force takes it from them.
    #[error("{}", conflict::message(.0))]
    Conflicts(Vec<Conflict>),
    /// The applied configuration itself cannot be used.
    #[error("{0}")]
    Malformed(String),
    /// The applied configuration does not fit its schema.
    #[error("failed to create typed patch object {0}")]
    Typed(String),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflicts(conflicts) => Self::apply_conflict(
                conflict::message(&conflicts),
                conflicts.iter().map(Conflict::cause).collect(),
            ),
            Error::Malformed(message) => Self::bad_request(message),
            Error::Typed(_) => Self::failure(500, "", error.to_string()),
        }
    }
}

/// One write, as far as the ownership of fields is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Who writes.
    pub manager: &'a str,
    /// Through which subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The schema of the kind.
    pub schema: &'a Schema,
    /// The time, RFC 3339 in whole seconds.
    pub now: &'a str,
    /// Fields that this write cannot change and therefore cannot own: `status` for the object itself, everything else for
    /// its `status` subresource.
    pub reset: Option<&'a FieldSet>,
}

impl Write<'_> {
    /// Merges an applied configuration into the live object. Without a live object, the configuration becomes the object.
    pub fn apply(
        &self,
        live: Option<&Value>,
        applied: &Value,
        force: bool,
    ) -> Result<Value, Error> {
        update::apply(self, live, applied, force)
    }

    /// Brings `managedFields` of an object that is about to be written up to date. `old` is what it replaces.
    pub fn track_update(&self, old: Option<&Value>, new: &mut Value) {
        update::track(self, old, new);
    }
}

/// Server-side apply; see [`Write::apply`]. Adds `managedFields`. If nothing changed, the live object comes back as it was.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    subresource: &str,
    force: bool,
    schema: &Schema,
    now: &str,
) -> Result<Value, Error> {
    Write {
        manager,
        subresource,
        schema,
        now,
        reset: None,
    }
    .apply(live, applied, force)
}

/// Ownership for create, update and every patch but apply; see [`Write::track_update`].
pub fn track_update(
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    schema: &Schema,
    now: &str,
) {
    Write {
        manager,
        subresource,
        schema,
        now,
        reset: None,
    }
    .track_update(old, new);
}
