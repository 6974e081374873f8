//! Merging an applied configuration into a live object: what the configuration says wins, the rest stays.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::owned::{Shape, item_element, part, shape};
use super::path::PathElement;
use crate::schema::{Arena, NodeId, Schema};

/// The live object with the configuration merged into it.
pub(super) fn merge(schema: &Schema, live: &Value, applied: &Value) -> Value {
    values(&schema.arena, Some(schema.id), live, applied)
}

fn values(arena: &Arena, id: Option<NodeId>, live: &Value, applied: &Value) -> Value {
    let node = id.map(|id| arena.node(id));
    match (shape(node, applied), live, applied) {
        (Shape::Map, Value::Object(live), Value::Object(applied)) => {
            let mut merged = Map::new();
            for (name, present) in live {
                let value = match applied.get(name) {
                    Some(value) => {
                        let child = part(arena, id, &PathElement::field(name.clone()));
                        values(arena, child, present, value)
                    }
                    None => present.clone(),
                };
                merged.insert(name.clone(), value);
            }
            let new = applied.iter().filter(|(name, _)| !live.contains_key(*name));
            merged.extend(new.map(|(name, value)| (name.clone(), value.clone())));
            Value::Object(merged)
        }
        (Shape::List, Value::Array(live), Value::Array(applied)) => match id {
            Some(id) => Value::Array(items(arena, id, live, applied)),
            None => Value::Array(applied.clone()),
        },
        _ => applied.clone(),
    }
}

/// Merges lists item by item. The applied items keep their order; items that only the live list has keep their place among
/// the live items around them as far as that order allows.
fn items(arena: &Arena, id: NodeId, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let node = arena.node(id);
    let name = |item: &Value| item_element(arena, node, item).ok();
    let live_names: Vec<Option<PathElement>> = live.iter().map(name).collect();
    let applied_names: Vec<Option<PathElement>> = applied.iter().map(name).collect();
    // Where an item stands in the live list; `None` for items that stand there more than once.
    let mut live_at: BTreeMap<&PathElement, Option<usize>> = BTreeMap::new();
    for (index, name) in live_names.iter().enumerate() {
        if let Some(name) = name {
            live_at
                .entry(name)
                .and_modify(|at| *at = None)
                .or_insert(Some(index));
        }
    }
    let is_applied = |name: &Option<PathElement>| name.is_some() && applied_names.contains(name);
    let shared: Vec<&PathElement> = applied_names
        .iter()
        .flatten()
        .filter(|name| live_at.contains_key(name))
        .collect();
    let mut shared = shared.into_iter();
    let mut next_shared = shared.next();
    let mut merged_names: Vec<&PathElement> = Vec::with_capacity(applied.len());
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let (mut at_live, mut at_applied) = (0, 0);
    while at_live < live.len() || at_applied < applied.len() {
        if at_live < live.len() {
            let here = &live_names[at_live];
            if !is_applied(here) {
                out.push(live[at_live].clone());
                at_live += 1;
                continue;
            }
            let here = here.as_ref().expect("an applied item has a name");
            let is_same = applied_names
                .get(at_applied)
                .is_some_and(|name| name.as_ref() == Some(here));
            let is_out_of_turn = next_shared.is_some_and(|next| next != here);
            if merged_names.contains(&here) || (!is_same && is_out_of_turn) {
                // Merged already, or to be merged when the applied order comes to it.
                at_live += 1;
                continue;
            }
        }
        let Some(item) = applied.get(at_applied) else {
            at_live += 1;
            continue;
        };
        let name = applied_names[at_applied].as_ref();
        let present = name
            .and_then(|name| *live_at.get(name)?)
            .map(|index| &live[index]);
        out.push(match present {
            Some(present) => values(arena, node.items, present, item),
            None => item.clone(),
        });
        if let Some(name) = name {
            merged_names.push(name);
            if next_shared == Some(name) {
                next_shared = shared.next();
            }
            // The live item that was just merged is done with.
            if at_live < live.len() && live_names[at_live].as_ref() == Some(name) {
                at_live += 1;
            }
        }
        at_applied += 1;
    }
    out
}
