//! Structural schemas: one node type for built-in kinds and custom resources.
//! A `Schema` is a cheap handle on a node of a shared arena, so that recursive and shared types cost nothing.
//! What a schema *means* is in the modules below; which kinds have which schema is for the caller to say.

mod node;

mod read;
mod structural;
mod write;

mod defaulting;
mod pruning;

mod cel;
mod formats;
mod validation;

mod metadata;

use std::sync::Arc;

pub(crate) use node::{Additional, Arena, Node, NodeId};
pub use node::{ListType, MapType, PatchStrategy, Type};
pub use read::Definitions;
pub use structural::check as check_structural;

/// A schema: a node and everything below it. Cloning is cheap.
#[derive(Clone)]
pub struct Schema {
    pub(crate) arena: Arc<Arena>,
    pub(crate) id: NodeId,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema")
            .field("type", &self.node().kind)
            .field("nodes", &self.arena.len())
            .finish()
    }
}

impl Schema {
    /// Accepts everything and keeps everything: for objects whose kind is not known.
    pub fn anything() -> Self {
        let mut arena = Arena::default();
        let id = arena.push(Node {
            preserve_unknown: true,
            ..Node::default()
        });
        Self {
            arena: Arc::new(arena),
            id,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        self.arena.node(self.id)
    }

    fn at(&self, id: NodeId) -> Self {
        Self {
            arena: Arc::clone(&self.arena),
            id,
        }
    }

    /// The JSON type.
    pub fn kind(&self) -> Type {
        self.node().kind
    }

    /// What it is, in words.
    pub fn description(&self) -> &str {
        self.node().description.as_deref().unwrap_or_default()
    }

    /// The schema of a field: a declared property, or what a map holds.
    pub fn field(&self, name: &str) -> Option<Schema> {
        self.node().field(name).map(|id| self.at(id))
    }

    /// The schema behind a path of field names; list items are stepped into without naming them.
    pub fn at_path<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<Schema> {
        let mut here = self.clone();
        for name in path {
            while let Some(items) = here.items() {
                here = items;
            }
            here = here.field(name)?;
        }
        Some(here)
    }

    /// The schema of list items.
    pub fn items(&self) -> Option<Schema> {
        self.node().items.map(|id| self.at(id))
    }

    /// The declared properties, in order of name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Schema)> {
        self.node()
            .properties
            .iter()
            .map(|(name, id)| (&**name, self.at(*id)))
    }

    /// How a list merges.
    pub fn list_type(&self) -> ListType {
        self.node().list_type
    }

    /// The keys of a list of type `map`.
    pub fn list_map_keys(&self) -> impl Iterator<Item = &str> {
        self.node().list_map_keys.iter().map(|key| &**key)
    }

    /// The key by which a strategic merge patch finds list items.
    pub fn patch_merge_key(&self) -> Option<&str> {
        self.node().patch_merge_key.as_deref()
    }

    /// What a strategic merge patch does with this field.
    pub fn patch_strategy(&self) -> PatchStrategy {
        self.node().patch_strategy
    }
}
