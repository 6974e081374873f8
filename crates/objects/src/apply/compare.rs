//! Which fields one object has and another has not, or has with another value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::owned::{Shape, item_element, part, shape};
use super::path::PathElement;
use super::set::FieldSet;
use crate::schema::{Arena, NodeId, Schema};

/// The fields in which two objects differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Comparison {
    /// Only in the new one.
    pub(super) added: FieldSet,
    /// In both, with different values.
    pub(super) modified: FieldSet,
    /// Only in the old one.
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// Without everything at and below these fields.
    pub(super) fn without(self, fields: Option<&FieldSet>) -> Self {
        let Some(fields) = fields else { return self };
        Self {
            added: self.added.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            removed: self.removed.recursive_difference(fields),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects.
pub(super) fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    values(&schema.arena, Some(schema.id), Some(old), Some(new)).below
}

/// How one value itself differs, apart from its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// What was found at one place: about the value itself, and about what is below it.
#[derive(Default)]
struct Found {
    own: Option<Change>,
    below: Comparison,
    is_leaf: bool,
}

impl Comparison {
    /// Adds what was found at a part.
    fn attach(&mut self, element: PathElement, found: Found) {
        let sets = [
            (&mut self.added, Change::Added, found.below.added),
            (&mut self.modified, Change::Modified, found.below.modified),
            (&mut self.removed, Change::Removed, found.below.removed),
        ];
        for (set, change, below) in sets {
            if found.own == Some(change) {
                set.members.insert(element.clone());
            }
            if !below.is_empty() {
                set.children.insert(element.clone(), below);
            }
        }
    }
}

fn values(arena: &Arena, id: Option<NodeId>, old: Option<&Value>, new: Option<&Value>) -> Found {
    let mut found = Found::default();
    if old == new {
        return found;
    }
    let node = id.map(|id| arena.node(id));
    let shape_of = |value: Option<&Value>| {
        value
            .filter(|value| !value.is_null())
            .map(|value| shape(node, value))
    };
    match (shape_of(old), shape_of(new)) {
        (None, None) => leaf(old, new, &mut found),
        (Some(only), None) | (None, Some(only)) => parts(arena, id, only, old, new, &mut found),
        (Some(a), Some(b)) if a == b => parts(arena, id, a, old, new, &mut found),
        (Some(a), Some(b)) => {
            parts(arena, id, a, old, new, &mut found);
            parts(arena, id, b, old, new, &mut found);
        }
    }
    if !found.is_leaf {
        match (old, new) {
            (None, _) => found.own = Some(Change::Added),
            (_, None) => found.own = Some(Change::Removed),
            _ => {}
        }
    }
    found
}

/// Compares values that fall apart in the same way.
fn parts(
    arena: &Arena,
    id: Option<NodeId>,
    shape: Shape,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Found,
) {
    match shape {
        Shape::Leaf => leaf(old, new, found),
        Shape::Map => map(arena, id, old, new, found),
        Shape::List => list(arena, id, old, new, found),
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>, found: &mut Found) {
    found.is_leaf = true;
    found.own = match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        (Some(old), Some(new)) => (old != new).then_some(Change::Modified),
    };
}

fn map(
    arena: &Arena,
    id: Option<NodeId>,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Found,
) {
    let old_fields = old.and_then(Value::as_object);
    let new_fields = new.and_then(Value::as_object);
    let is_empty = |fields: Option<&Map<String, Value>>| fields.is_none_or(Map::is_empty);
    // Two empty ones differ as wholes: an empty map is not an absent one.
    if is_empty(old_fields) && is_empty(new_fields) {
        return leaf(old, new, found);
    }
    let mut field = |name: &String, old: Option<&Value>, new: Option<&Value>| {
        if old == new {
            return;
        }
        let element = PathElement::field(name.clone());
        let below = values(arena, part(arena, id, &element), old, new);
        found.below.attach(element, below);
    };
    for (name, value) in old_fields.into_iter().flatten() {
        field(
            name,
            Some(value),
            new_fields.and_then(|fields| fields.get(name)),
        );
    }
    for (name, value) in new_fields.into_iter().flatten() {
        if old_fields.is_none_or(|fields| !fields.contains_key(name)) {
            field(name, None, Some(value));
        }
    }
}

fn list(
    arena: &Arena,
    id: Option<NodeId>,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Found,
) {
    let Some(node) = id.map(|id| arena.node(id)) else {
        return leaf(old, new, found);
    };
    let old_items = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let new_items = new.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if old_items.is_empty() && new_items.is_empty() {
        return leaf(old, new, found);
    }
    let mut items: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old_items {
        if let Ok(element) = item_element(arena, node, item) {
            items.entry(element).or_default().0.push(item);
        }
    }
    for item in new_items {
        if let Ok(element) = item_element(arena, node, item) {
            items.entry(element).or_default().1.push(item);
        }
    }
    for (element, (old, new)) in items {
        let item = match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => values(
                arena,
                node.items,
                old.first().copied(),
                new.first().copied(),
            ),
            // Items that stand there twice have no name of their own: they count as one leaf.
            ([_, _, ..], [_, _, ..]) => Found {
                own: (old != new).then_some(Change::Modified),
                ..Found::default()
            },
            ([_, _, ..], rest) => {
                let below = rest
                    .first()
                    .map(|only| values(arena, node.items, None, Some(only)));
                let added = below
                    .as_ref()
                    .is_some_and(|found| found.own == Some(Change::Added));
                if added {
                    found.below.added.members.insert(element.clone());
                }
                Found {
                    own: Some(Change::Removed),
                    ..below.unwrap_or_default()
                }
            }
            (rest, _) => {
                let below = rest
                    .first()
                    .map(|only| values(arena, node.items, Some(only), None));
                let removed = below
                    .as_ref()
                    .is_some_and(|found| found.own == Some(Change::Removed));
                if removed {
                    found.below.removed.members.insert(element.clone());
                }
                Found {
                    own: Some(Change::Added),
                    ..below.unwrap_or_default()
                }
            }
        };
        found.below.attach(element, item);
    }
}
