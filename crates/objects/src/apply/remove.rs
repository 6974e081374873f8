//! Taking fields out of an object.

use serde_json::Value;

use super::owned::{Shape, item_element, part, shape};
use super::path::PathElement;
use super::set::FieldSet;
use crate::schema::{Arena, NodeId, Schema};

/// What becomes of a list or a map that lost its last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    /// It stays as a null: owners of the list or map itself, not of its entries, keep what they own.
    Null,
    /// It goes too, unless it is a struct, which stays empty.
    Gone,
}

fn is_emptied(rest: &Value, before: &Value) -> bool {
    match (rest, before) {
        (Value::Object(rest), Value::Object(before)) => rest.is_empty() && !before.is_empty(),
        (Value::Array(rest), Value::Array(before)) => rest.is_empty() && !before.is_empty(),
        _ => false,
    }
}

/// The object without these fields.
pub(super) fn remove(
    schema: &Schema,
    object: &Value,
    doomed: &FieldSet,
    emptied: Emptied,
) -> Value {
    parts(&schema.arena, Some(schema.id), object, doomed, emptied)
}

fn parts(
    arena: &Arena,
    id: Option<NodeId>,
    value: &Value,
    doomed: &FieldSet,
    emptied: Emptied,
) -> Value {
    let node = id.map(|id| arena.node(id));
    match (shape(node, value), value) {
        (Shape::Map, Value::Object(fields)) => {
            let kept = fields.iter().filter_map(|(name, child)| {
                let element = PathElement::field(name.clone());
                if doomed.members.contains(&element) {
                    return None;
                }
                let Some(below) = doomed.below(&element) else {
                    return Some((name.clone(), child.clone()));
                };
                let child_id = part(arena, id, &element);
                let rest = parts(arena, child_id, child, below, emptied);
                let is_struct = child_id.is_some_and(|id| !arena.node(id).properties.is_empty());
                match (is_emptied(&rest, child), emptied) {
                    (false, _) => Some((name.clone(), rest)),
                    (true, Emptied::Null) => Some((name.clone(), Value::Null)),
                    (true, Emptied::Gone) => is_struct.then(|| (name.clone(), rest)),
                }
            });
            Value::Object(kept.collect())
        }
        (Shape::List, Value::Array(items)) => {
            let Some(node) = node else {
                return value.clone();
            };
            let kept = items.iter().filter_map(|item| {
                let Ok(element) = item_element(arena, node, item) else {
                    return Some(item.clone());
                };
                if doomed.members.contains(&element) {
                    return None;
                }
                Some(match doomed.below(&element) {
                    Some(below) => parts(arena, node.items, item, below, emptied),
                    None => item.clone(),
                })
            });
            kept.collect()
        }
        _ => value.clone(),
    }
}
