//! The node of a schema and the arena that holds the nodes.
//! Children are indices, so types may be shared and may contain themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Number, Value};

use super::cel::Rule;

/// Index of a node in its arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// The nodes of one or many schemas.
#[derive(Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
    /// Whole numbers must fit `int32` and `int64`: true of published types, whose clients decode into such fields, while
    /// upstream does not look at these formats in custom resources.
    pub(crate) checks_integer_formats: bool,
}

impl Arena {
    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("fewer than 2^32 schema nodes"));
        self.nodes.push(node);
        id
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }
}

/// The JSON type a schema asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Type {
    /// Not said.
    #[default]
    Any,
    /// A map.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl Type {
    /// The name in JSON schema; empty for [`Type::Any`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }
}

/// How a list merges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListType {
    /// As a whole.
    #[default]
    Atomic,
    /// As a set of scalars.
    Set,
    /// By the keys of its items.
    Map,
}

/// How a map merges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MapType {
    /// Entry by entry.
    #[default]
    Granular,
    /// As a whole.
    Atomic,
}

/// What a strategic merge patch does with a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PatchStrategy {
    /// Merge the list instead of replacing it.
    pub merge: bool,
    /// Drop the keys that the patch does not name in `$retainKeys`.
    pub retain_keys: bool,
    /// Replace the map instead of merging it.
    pub replace: bool,
}

/// What may stand beside the declared properties of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// Nothing.
    Denied,
    /// Anything.
    Any,
    /// Values of one schema.
    Schema(NodeId),
}

/// Limits on a value and logical combinations of them.
#[derive(Clone, Default)]
pub(crate) struct Limits {
    pub(crate) minimum: Option<Number>,
    pub(crate) maximum: Option<Number>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<Number>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) pattern: Option<Regex>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
}

/// One schema. Most fields are empty in most nodes.
#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(crate) title: Option<Box<str>>,
    pub(crate) description: Option<Box<str>>,
    /// The name of the definition this node was made from.
    pub(crate) definition: Option<Arc<str>>,
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) format: Option<Box<str>>,
    pub(crate) example: Option<Value>,
    pub(crate) external_docs: Option<Value>,
    pub(crate) properties: Arc<BTreeMap<Box<str>, NodeId>>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) required: Arc<[Box<str>]>,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded_resource: bool,
    pub(crate) int_or_string: bool,
    /// `x-kubernetes-list-type` was given.
    pub(crate) has_list_type: bool,
    pub(crate) list_type: ListType,
    pub(crate) list_map_keys: Arc<[Box<str>]>,
    /// `x-kubernetes-map-type` was given.
    pub(crate) has_map_type: bool,
    pub(crate) map_type: MapType,
    pub(crate) patch_strategy: PatchStrategy,
    pub(crate) patch_merge_key: Option<Box<str>>,
    pub(crate) rules: Arc<[Rule]>,
    /// A default stands here or somewhere below.
    pub(crate) has_defaults: bool,
    /// A CEL rule stands here or somewhere below.
    pub(crate) has_rules: bool,
}

impl Node {
    /// The schema of a field: a declared property, or what a map holds.
    pub(crate) fn field(&self, name: &str) -> Option<NodeId> {
        self.properties
            .get(name)
            .copied()
            .or(match self.additional {
                Additional::Schema(id) => Some(id),
                _ => None,
            })
    }

    /// Whether fields that are not declared are kept as they are.
    pub(crate) fn keeps_undeclared(&self) -> bool {
        self.preserve_unknown || self.additional == Additional::Any
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = NodeId> + '_ {
        let additional = match self.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        };
        self.properties
            .values()
            .copied()
            .chain(additional)
            .chain(self.items)
    }
}
