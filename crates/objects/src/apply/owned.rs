//! How values fall apart into owned parts: what is a leaf, what has parts, and how the parts are called.
//! Also the set of everything a configuration says, which is what its applier owns.

use serde_json::{Map, Value};

use super::path::{Path, PathElement};
use super::set::FieldSet;
use crate::schema::{Arena, ListType, MapType, Node, NodeId, Schema, Type};

/// How a value merges at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a whole: a scalar, or an atomic list or map.
    Leaf,
    /// Field by field.
    Map,
    /// Item by item.
    List,
}

/// How a value merges. Without a schema, maps merge by field and lists as a whole.
pub(super) fn shape(node: Option<&Node>, value: &Value) -> Shape {
    match value {
        Value::Object(_) => match node {
            Some(node) if node.map_type == MapType::Atomic => Shape::Leaf,
            Some(node) if !matches!(node.kind, Type::Object | Type::Any) => Shape::Leaf,
            _ => Shape::Map,
        },
        Value::Array(_) => match node {
            Some(node) if node.list_type != ListType::Atomic => Shape::List,
            _ => Shape::Leaf,
        },
        _ => Shape::Leaf,
    }
}

/// The schema of one part.
pub(super) fn part(arena: &Arena, id: Option<NodeId>, element: &PathElement) -> Option<NodeId> {
    let node = arena.node(id?);
    match element {
        PathElement::Field(name) => node.field(name),
        _ => node.items,
    }
}

/// What a list item is called in its list.
pub(super) fn item_element(
    arena: &Arena,
    list: &Node,
    item: &Value,
) -> Result<PathElement, String> {
    match list.list_type {
        ListType::Map => item_key(arena, list, item),
        _ => match item {
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err("sets can contain neither null nor lists nor maps".to_owned())
            }
            scalar => Ok(PathElement::Value(scalar.clone())),
        },
    }
}

fn item_key(arena: &Arena, list: &Node, item: &Value) -> Result<PathElement, String> {
    let Some(fields) = item.as_object() else {
        return Err(
            "associative list with keys may not have an element that is not a map".to_owned(),
        );
    };
    let mut key = Map::new();
    for name in list.list_map_keys.iter() {
        let default = || {
            let field = list.items.and_then(|items| arena.node(items).field(name))?;
            arena.node(field).default.as_ref()
        };
        match fields
            .get(&**name)
            .filter(|value| !value.is_null())
            .or_else(default)
        {
            Some(value) => {
                key.insert(name.to_string(), value.clone());
            }
            None => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {} (and doesn't have default value)",
                    crate::field::quote(name)
                ));
            }
        }
    }
    Ok(PathElement::Key(key))
}

/// Everything a value says.
pub(super) fn to_set(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(&schema.arena, Some(schema.id), value, &mut set);
    set
}

/// Adds the parts of a value; the caller has seen to the value itself.
fn collect(arena: &Arena, id: Option<NodeId>, value: &Value, set: &mut FieldSet) {
    let node = id.map(|id| arena.node(id));
    match (shape(node, value), value) {
        (Shape::Map, Value::Object(fields)) => {
            for (name, child) in fields {
                let element = PathElement::field(name.clone());
                let child_id = part(arena, id, &element);
                let is_declared =
                    node.is_some_and(|node| node.properties.contains_key(name.as_str()));
                let child_shape = shape(child_id.map(|id| arena.node(id)), child);
                let is_empty_map = child.as_object().is_some_and(Map::is_empty);
                if child_shape == Shape::Leaf || is_empty_map || !is_declared {
                    set.members.insert(element.clone());
                }
                if child_shape != Shape::Leaf {
                    descend(arena, child_id, child, element, set);
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            let Some(node) = node else { return };
            for item in items {
                let Ok(element) = item_element(arena, node, item) else {
                    continue;
                };
                set.members.insert(element.clone());
                if shape(node.items.map(|id| arena.node(id)), item) != Shape::Leaf {
                    descend(arena, node.items, item, element, set);
                }
            }
        }
        _ => {}
    }
}

fn descend(
    arena: &Arena,
    id: Option<NodeId>,
    value: &Value,
    element: PathElement,
    set: &mut FieldSet,
) {
    let mut below = set.children.remove(&element).unwrap_or_default();
    collect(arena, id, value, &mut below);
    if !below.is_empty() {
        set.children.insert(element, below);
    }
}

/// The set with every declared field that has members below it as a member too. Emptied structs can then be removed whole.
pub(super) fn with_declared_parents(arena: &Arena, id: Option<NodeId>, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet {
        members: set.members.clone(),
        ..FieldSet::default()
    };
    for (element, child) in &set.children {
        if let (PathElement::Field(name), Some(id)) = (element, id)
            && arena.node(id).properties.contains_key(name.as_str())
        {
            out.members.insert(element.clone());
        }
        let below = with_declared_parents(arena, part(arena, id, element), child);
        out.children.insert(element.clone(), below);
    }
    out
}

/// Brings a set up to date where a list or map has become atomic: what was owned below it is owned as the whole.
pub(super) fn collapse(arena: &Arena, id: Option<NodeId>, set: &mut FieldSet) {
    let is_atomic = |id: NodeId| {
        let node = arena.node(id);
        match node.kind {
            Type::Object => node.map_type == MapType::Atomic,
            Type::Array => node.list_type == ListType::Atomic,
            _ => false,
        }
    };
    let members = &mut set.members;
    set.children.retain(|element, child| {
        let child_id = part(arena, id, element);
        if child_id.is_some_and(is_atomic) {
            members.insert(element.clone());
            return false;
        }
        if child_id.is_some() {
            collapse(arena, child_id, child);
        }
        true
    });
}

/// What keeps a configuration from being applied: undeclared fields, items without keys, items twice.
pub(super) fn check(schema: &Schema, value: &Value) -> Result<(), String> {
    check_at(&schema.arena, Some(schema.id), value, &mut Path::default())
}

fn check_at(
    arena: &Arena,
    id: Option<NodeId>,
    value: &Value,
    path: &mut Path,
) -> Result<(), String> {
    let Some(node) = id.map(|id| arena.node(id)) else {
        return Ok(());
    };
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                let element = PathElement::field(name.clone());
                let child_id = node.field(name);
                path.0.push(element);
                if child_id.is_none() && !node.keeps_undeclared() && node.kind == Type::Object {
                    return Err(format!("{path}: field not declared in schema"));
                }
                check_at(arena, child_id, child, path)?;
                path.0.pop();
            }
        }
        Value::Array(items) if node.list_type != ListType::Atomic => {
            let mut seen = std::collections::BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let element = item_element(arena, node, item)
                    .map_err(|error| format!("{path}: element {index}: {error}"))?;
                if !seen.insert(element.clone()) {
                    return Err(format!("{path}: duplicate entries for key {element}"));
                }
                path.0.push(element);
                check_at(arena, node.items, item, path)?;
                path.0.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.0.push(PathElement::Index(index as i64));
                check_at(arena, node.items, item, path)?;
                path.0.pop();
            }
        }
        Value::Null => {}
        scalar => {
            let wanted = match node.kind {
                Type::Object => "map",
                Type::Array => "list",
                _ => return Ok(()),
            };
            let shown = scalar
                .as_str()
                .map_or_else(|| scalar.to_string(), str::to_owned);
            return Err(format!("{path}: expected {wanted}, got &{{{shown}}}"));
        }
    }
    Ok(())
}

/// A configuration without the nulls that its schema does not allow: they say nothing.
pub(super) fn without_nulls(arena: &Arena, id: Option<NodeId>, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, child)| {
                let child_id = id.and_then(|id| arena.node(id).field(name));
                let is_nullable = child_id.is_none_or(|id| arena.node(id).nullable);
                if child.is_null() && !is_nullable {
                    return None;
                }
                Some((name.clone(), without_nulls(arena, child_id, child)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let child_id = id.and_then(|id| arena.node(id).items);
            items
                .iter()
                .map(|item| without_nulls(arena, child_id, item))
                .collect()
        }
        other => other.clone(),
    }
}
