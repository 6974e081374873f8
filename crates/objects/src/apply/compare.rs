//! Which fields one object has and another has not, or has with another value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

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
    let mut walk = Walk {
        arena: &schema.arena,
        path: Vec::new(),
        found: Comparison::default(),
    };
    walk.values(Some(schema.id), Some(old), Some(new));
    walk.found
}

struct Walk<'a> {
    arena: &'a Arena,
    path: Vec<PathElement>,
    found: Comparison,
}

impl Walk<'_> {
    fn values(&mut self, id: Option<NodeId>, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let node = id.map(|id| self.arena.node(id));
        let shape_of = |value: Option<&Value>| {
            value
                .filter(|value| !value.is_null())
                .map(|value| shape(node, value))
        };
        let mut is_leaf = false;
        match (shape_of(old), shape_of(new)) {
            (None, None) => is_leaf |= self.parts(id, Shape::Leaf, old, new),
            (Some(only), None) | (None, Some(only)) => is_leaf |= self.parts(id, only, old, new),
            (Some(a), Some(b)) if a == b => is_leaf |= self.parts(id, a, old, new),
            (Some(a), Some(b)) => {
                is_leaf |= self.parts(id, a, old, new);
                is_leaf |= self.parts(id, b, old, new);
            }
        }
        if !is_leaf {
            match (old, new) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    /// Compares values of one shape; whether they turned out to be leaves.
    fn parts(
        &mut self,
        id: Option<NodeId>,
        shape: Shape,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> bool {
        match shape {
            Shape::Leaf => self.leaf(old, new),
            Shape::Map => {
                let old_fields = old.and_then(Value::as_object);
                let new_fields = new.and_then(Value::as_object);
                let names: BTreeSet<&String> = old_fields
                    .into_iter()
                    .chain(new_fields)
                    .flat_map(|fields| fields.keys())
                    .collect();
                // Two empty ones differ as wholes: an empty map is not an absent one.
                if names.is_empty() {
                    return self.leaf(old, new);
                }
                for name in names {
                    let element = PathElement::field(name.clone());
                    let child = part(self.arena, id, &element);
                    self.path.push(element);
                    let old = old_fields.and_then(|fields| fields.get(name));
                    let new = new_fields.and_then(|fields| fields.get(name));
                    self.values(child, old, new);
                    self.path.pop();
                }
                false
            }
            Shape::List => self.list(id, old, new),
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(old), Some(new)) if old != new => self.found.modified.insert(&self.path),
            _ => {}
        }
        true
    }

    fn list(&mut self, id: Option<NodeId>, old: Option<&Value>, new: Option<&Value>) -> bool {
        let Some(node) = id.map(|id| self.arena.node(id)) else {
            return self.leaf(old, new);
        };
        let old_items = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let new_items = new.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if old_items.is_empty() && new_items.is_empty() {
            return self.leaf(old, new);
        }
        let mut items: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old_items {
            if let Ok(element) = item_element(self.arena, node, item) {
                items.entry(element).or_default().0.push(item);
            }
        }
        for item in new_items {
            if let Ok(element) = item_element(self.arena, node, item) {
                items.entry(element).or_default().1.push(item);
            }
        }
        for (element, (old, new)) in items {
            self.path.push(element);
            match (old.as_slice(), new.as_slice()) {
                ([] | [_], [] | [_]) => {
                    self.values(node.items, old.first().copied(), new.first().copied())
                }
                // Items that stand there twice have no name of their own: they count as one leaf.
                ([_, _, ..], [_, _, ..]) => {
                    if old != new {
                        self.found.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], rest) => {
                    if let [only] = rest {
                        self.values(node.items, None, Some(only));
                    }
                    self.found.removed.insert(&self.path);
                }
                (rest, _) => {
                    if let [only] = rest {
                        self.values(node.items, Some(only), None);
                    }
                    self.found.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
        false
    }
}
