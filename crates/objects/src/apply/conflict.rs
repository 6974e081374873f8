//! Conflicts: what an apply would change though another manager owns it, in the words kubectl shows.

use super::managers::{Entry, Operation};
use super::path::Path;
use crate::field::quote;
use crate::status::StatusCause;

/// One field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Name of the owner.
    pub manager: String,
    /// Subresource through which it owns; empty for the object itself.
    pub subresource: String,
    /// API version of an owner that did not apply; `None` for appliers.
    pub updated_in: Option<String>,
    /// The field.
    pub field: Path,
}

impl Conflict {
    pub(super) fn with(entry: &Entry, field: Path) -> Self {
        Self {
            manager: entry.identity.manager.clone(),
            subresource: entry.identity.subresource.clone(),
            updated_in: (entry.identity.operation == Operation::Update)
                .then(|| entry.api_version.clone()),
            field,
        }
    }

    fn owner(&self) -> String {
        let mut owner = quote(&self.manager);
        if !self.subresource.is_empty() {
            owner.push_str(&format!(" with subresource {}", quote(&self.subresource)));
        }
        if let Some(version) = &self.updated_in {
            owner.push_str(&format!(" using {version}"));
        }
        owner
    }

    /// The cause in a `Status`.
    pub fn cause(&self) -> StatusCause {
        StatusCause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", self.owner()),
            field: self.field.to_string(),
        }
    }
}

/// `Apply failed with 1 conflict: …`, or the list of several, by owner.
pub(super) fn message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            only.owner(),
            only.field
        );
    }
    let mut owners: Vec<String> = conflicts.iter().map(Conflict::owner).collect();
    owners.sort();
    owners.dedup();
    let mut parts = Vec::with_capacity(owners.len());
    for owner in owners {
        let fields: Vec<String> = conflicts
            .iter()
            .filter(|conflict| conflict.owner() == owner)
            .map(|conflict| format!("- {}", conflict.field))
            .collect();
        parts.push(format!("conflicts with {owner}:\n{}", fields.join("\n")));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        parts.join("\n")
    )
}
