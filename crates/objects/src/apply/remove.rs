//! Taking fields out of an object.

use serde_json::Value;

use super::owned::{Shape, item_element, part, shape};
use super::path::PathElement;
use super::set::FieldSet;
use crate::schema::{Arena, NodeId, Schema};

/// The object without these fields.
pub(super) fn remove(schema: &Schema, object: &Value, doomed: &FieldSet) -> Value {
    parts(&schema.arena, Some(schema.id), object, doomed)
}

fn parts(arena: &Arena, id: Option<NodeId>, value: &Value, doomed: &FieldSet) -> Value {
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
                let rest = parts(arena, child_id, child, below);
                // A list or a dictionary that lost its last entry goes with it; an emptied struct stays.
                let is_struct = child_id.is_some_and(|id| !arena.node(id).properties.is_empty());
                let is_emptied = match (&rest, child) {
                    (Value::Object(rest), Value::Object(child)) => {
                        rest.is_empty() && !child.is_empty() && !is_struct
                    }
                    (Value::Array(rest), Value::Array(child)) => {
                        rest.is_empty() && !child.is_empty()
                    }
                    _ => false,
                };
                (!is_emptied).then(|| (name.clone(), rest))
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
                    Some(below) => parts(arena, node.items, item, below),
                    None => item.clone(),
                })
            });
            kept.collect()
        }
        _ => value.clone(),
    }
}
