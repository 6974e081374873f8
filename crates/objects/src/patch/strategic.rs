//! Strategic merge patch: a merge patch that merges lists by the keys its schema names.
//! Mirrors `strategicpatch` of apimachinery: `$patch`, `$deleteFromPrimitiveList`, `$setElementOrder`, `$retainKeys`.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::Error;
use crate::schema::{Arena, NodeId, PatchStrategy, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch. On error the object is as it was.
pub fn strategic(object: &mut Value, patch: &Value, schema: &Schema) -> Result<(), Error> {
    let (Value::Object(patch), Some(original)) = (patch, object.as_object()) else {
        return Err(Error::Malformed(
            "error decoding patch: a strategic merge patch must be a JSON object".to_owned(),
        ));
    };
    let merger = Merger {
        arena: &schema.arena,
    };
    let merged = merger.map(original.clone(), patch.clone(), Some(schema.id))?;
    *object = Value::Object(merged);
    Ok(())
}

struct Merger<'a> {
    arena: &'a Arena,
}

/// What the schema says about one field.
struct Field {
    node: Option<NodeId>,
    items: Option<NodeId>,
    strategy: PatchStrategy,
    merge_key: Option<String>,
}

impl Merger<'_> {
    fn field(&self, map: Option<NodeId>, name: &str) -> Field {
        let id = map.and_then(|id| self.arena.node(id).field(name));
        let node = id.map(|id| self.arena.node(id));
        Field {
            node: id,
            items: node.and_then(|node| node.items),
            strategy: node.map(|node| node.patch_strategy).unwrap_or_default(),
            merge_key: node.and_then(|node| node.patch_merge_key.as_deref().map(str::to_owned)),
        }
    }

    fn map(
        &self,
        mut original: Map<String, Value>,
        mut patch: Map<String, Value>,
        schema: Option<NodeId>,
    ) -> Result<Map<String, Value>, Error> {
        match patch
            .remove(DIRECTIVE)
            .as_ref()
            .map(|directive| directive.as_str().unwrap_or_default())
        {
            None => {}
            Some("replace") => return Ok(without_directives(patch)),
            Some("delete") => return Ok(Map::new()),
            Some("merge") => {}
            Some(_) => return Err(unknown_directive()),
        }
        if let Some(keys) = patch.remove(RETAIN_KEYS) {
            retain_keys(&mut original, &patch, &keys)?;
        }
        self.ordered_lists(&mut original, &mut patch, schema)?;
        for (name, value) in patch {
            if let Some(list) = name.strip_prefix(DELETE_FROM) {
                if let Some(present) = original.get_mut(list) {
                    delete_from(present, &value, list)?;
                }
                continue;
            }
            if value.is_null() {
                original.remove(&name);
                continue;
            }
            let merged = match original.remove(&name) {
                None => clean(value),
                Some(present) => self.value(present, value, &self.field(schema, &name), &name)?,
            };
            original.insert(name, merged);
        }
        Ok(original)
    }

    fn value(
        &self,
        present: Value,
        patch: Value,
        field: &Field,
        name: &str,
    ) -> Result<Value, Error> {
        Ok(match (present, patch) {
            (Value::Object(_), Value::Object(patch)) if field.strategy.replace => {
                Value::Object(without_directives(patch))
            }
            (Value::Object(present), Value::Object(patch)) => {
                Value::Object(self.map(present, patch, field.node)?)
            }
            (Value::Array(present), Value::Array(patch)) if field.strategy.merge => {
                Value::Array(self.list(present, patch, field, name)?)
            }
            (_, patch) => clean(patch),
        })
    }

    fn list(
        &self,
        present: Vec<Value>,
        patch: Vec<Value>,
        field: &Field,
        name: &str,
    ) -> Result<Vec<Value>, Error> {
        if !present.iter().chain(&patch).any(Value::is_object) {
            let mut merged: Vec<Value> = Vec::with_capacity(present.len() + patch.len());
            for value in present.iter().chain(&patch) {
                if !merged.contains(value) {
                    merged.push(value.clone());
                }
            }
            return Ok(in_order(merged, &patch, &present, None));
        }
        let Some(key) = &field.merge_key else {
            return Err(Error::Malformed(format!(
                "cannot merge list {name}: it has no merge key"
            )));
        };
        let mut merged = present.clone();
        let mut rest = Vec::with_capacity(patch.len());
        let mut order = Vec::with_capacity(patch.len());
        let mut is_replaced = false;
        for item in patch {
            let Value::Object(mut item) = item else {
                return Err(Error::Malformed(format!(
                    "expected every item of list {name} to be a map"
                )));
            };
            match item
                .get(DIRECTIVE)
                .map(|directive| directive.as_str().unwrap_or_default())
            {
                None => rest.push(item),
                Some("delete") => {
                    let wanted = key_of(&item, key, name)?.clone();
                    merged.retain(|present| present.get(key) != Some(&wanted));
                }
                Some("replace") => {
                    is_replaced = true;
                    item.remove(DIRECTIVE);
                    if !item.is_empty() {
                        rest.push(item);
                    }
                }
                Some("merge") => {
                    item.remove(DIRECTIVE);
                    rest.push(item);
                }
                Some(_) => return Err(unknown_directive()),
            }
        }
        if is_replaced {
            return Ok(rest
                .into_iter()
                .map(|item| Value::Object(without_directives(item)))
                .collect());
        }
        for item in rest {
            let wanted = key_of(&item, key, name)?.clone();
            order.push(Value::Object(Map::from_iter([(
                key.clone(),
                wanted.clone(),
            )])));
            match merged
                .iter()
                .position(|present| present.get(key) == Some(&wanted))
            {
                None => merged.push(Value::Object(without_directives(item))),
                Some(index) => {
                    let present = match merged[index].take() {
                        Value::Object(present) => present,
                        _ => Map::new(),
                    };
                    merged[index] = Value::Object(self.map(present, item, field.items)?);
                }
            }
        }
        Ok(in_order(merged, &order, &present, Some(key)))
    }

    /// Merges the lists that come with an element order, and puts their items into that order.
    fn ordered_lists(
        &self,
        original: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
        schema: Option<NodeId>,
    ) -> Result<(), Error> {
        let ordered: Vec<String> = patch
            .keys()
            .filter_map(|name| name.strip_prefix(ELEMENT_ORDER))
            .map(str::to_owned)
            .collect();
        for name in ordered {
            let order = match patch.remove(&format!("{ELEMENT_ORDER}{name}")) {
                Some(Value::Array(order)) => order,
                _ => {
                    return Err(Error::Malformed(format!(
                        "expected $setElementOrder/{name} to be a list"
                    )));
                }
            };
            let field = self.field(schema, &name);
            if let Some(doomed) = patch.remove(&format!("{DELETE_FROM}{name}"))
                && let Some(present) = original.get_mut(&name)
            {
                delete_from(present, &doomed, &name)?;
            }
            let present = original.get(&name).cloned();
            if let Some(Value::Array(items)) = patch.get(&name) {
                agrees(items, &order, &name, field.merge_key.as_deref())?;
            }
            let merged = match (present.clone(), patch.remove(&name)) {
                (None, None) => continue,
                (Some(present), None) => present,
                (_, Some(Value::Null)) => {
                    original.remove(&name);
                    continue;
                }
                (None, Some(patched)) => clean(patched),
                (Some(present), Some(patched)) => self.value(present, patched, &field, &name)?,
            };
            let (Value::Array(merged), live) = (merged, present) else {
                return Err(Error::Malformed(format!("expected {name} to be a list")));
            };
            let live = live
                .and_then(|live| live.as_array().cloned())
                .unwrap_or_default();
            let key = field.merge_key.as_deref();
            original.insert(name, Value::Array(in_order(merged, &order, &live, key)));
        }
        Ok(())
    }
}

/// The items of a patch must come in the order that stands beside them.
fn agrees(items: &[Value], order: &[Value], name: &str, key: Option<&str>) -> Result<(), Error> {
    let mut rest = order.iter();
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let is_same = |other: &Value| match key {
            Some(key) => other.get(key).is_some() && other.get(key) == item.get(key),
            None => other == item,
        };
        if !rest.any(is_same) {
            return Err(Error::Malformed(format!(
                "the order of list {name} in the patch does not match its $setElementOrder list"
            )));
        }
    }
    Ok(())
}

fn unknown_directive() -> Error {
    Error::Malformed(
        "unrecognized patch directive: $patch must be \"replace\", \"delete\" or \"merge\""
            .to_owned(),
    )
}

fn key_of<'a>(item: &'a Map<String, Value>, key: &str, list: &str) -> Result<&'a Value, Error> {
    item.get(key).ok_or_else(|| {
        let item = Value::Object(item.clone());
        Error::Malformed(format!(
            "list {list}: map: {item} does not contain declared merge key: {key}"
        ))
    })
}

fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keys: &Value,
) -> Result<(), Error> {
    let Some(keys) = keys.as_array() else {
        return Err(Error::Malformed(
            "expected $retainKeys to be a list".to_owned(),
        ));
    };
    let is_kept = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let stray = patch
        .iter()
        .find(|(name, value)| !name.starts_with('$') && !value.is_null() && !is_kept(name));
    if let Some((name, _)) = stray {
        return Err(Error::Malformed(format!(
            "the key {name} of the patch is missing in $retainKeys"
        )));
    }
    original.retain(|name, _| is_kept(name));
    Ok(())
}

fn delete_from(present: &mut Value, doomed: &Value, name: &str) -> Result<(), Error> {
    let (Value::Array(present), Value::Array(doomed)) = (present, doomed) else {
        return Err(Error::Malformed(format!(
            "expected $deleteFromPrimitiveList/{name} and {name} to be lists"
        )));
    };
    present.retain(|item| !doomed.contains(item));
    Ok(())
}

/// A value taken from the patch as it is: without its directives and without its nulls.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(items) => {
            let is_doomed =
                |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
            let is_marker = |item: &Value| {
                item.as_object()
                    .is_some_and(|map| map.len() == 1 && map.contains_key(DIRECTIVE))
            };
            items
                .into_iter()
                .filter(|item| !is_doomed(item) && !is_marker(item))
                .map(clean)
                .collect()
        }
        other => other,
    }
}

fn without_directives(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .filter(|(name, value)| {
            let is_directive = name == DIRECTIVE
                || name == RETAIN_KEYS
                || name.starts_with(DELETE_FROM)
                || name.starts_with(ELEMENT_ORDER);
            !is_directive && !value.is_null()
        })
        .map(|(name, value)| (name, clean(value)))
        .collect()
}

/// Items named in `order` come in that order. The others are set between them so that, as far as that allows, the order of
/// the live list is kept.
fn in_order(merged: Vec<Value>, order: &[Value], live: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut named, others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let mut others = others;
    others.sort_by(|a, b| match (place(live, a), place(live, b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    });
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) = others.peek() {
            match (place(live, other), place(live, &item)) {
                (Some(other_place), Some(item_place)) if other_place < item_place => {
                    out.extend(others.next())
                }
                _ => break,
            }
        }
        out.push(item);
    }
    out.extend(others);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Schema {
        let container = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "image": {"type": "string"},
            "env": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}},
            "args": {"type": "array", "items": {"type": "string"}},
        }});
        Schema::from_openapi(&json!({"type": "object", "properties": {
            "containers": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name", "items": container},
            "finalizers": {"type": "array", "x-kubernetes-patch-strategy": "merge", "items": {"type": "string"}},
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {
                "type": {"type": "string"}, "rollingUpdate": {"type": "object", "properties": {"maxSurge": {"type": "integer"}}}}},
            "selector": {"type": "object", "x-kubernetes-patch-strategy": "replace", "additionalProperties": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }}))
        .unwrap()
    }

    fn patched(mut object: Value, patch: Value) -> Value {
        strategic(&mut object, &patch, &schema()).unwrap();
        object
    }

    #[test]
    fn lists_with_a_merge_key_merge_item_by_item_in_the_patchs_order() {
        let object = json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "args": ["x"]}, {"name": "b"}]});
        let patch = json!({"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}], "args": ["y"]}, {"name": "c"}]});
        assert_eq!(
            patched(object, patch),
            json!({"containers": [
                {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}], "args": ["y"]},
                {"name": "c"}, {"name": "b"},
            ]})
        );
    }

    #[test]
    fn directives_delete_and_replace() {
        let object = || json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"x": "1", "y": "2"}, "finalizers": ["f", "g"]});
        let cases = [
            (
                json!({"containers": [{"$patch": "delete", "name": "a"}]}),
                json!({"containers": [{"name": "b"}], "labels": {"x": "1", "y": "2"}, "finalizers": ["f", "g"]}),
            ),
            (
                json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
                json!({"containers": [{"name": "c"}], "labels": {"x": "1", "y": "2"}, "finalizers": ["f", "g"]}),
            ),
            (
                json!({"labels": {"$patch": "replace", "z": "3"}}),
                json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"z": "3"}, "finalizers": ["f", "g"]}),
            ),
            (
                json!({"labels": {"$patch": "delete"}}),
                json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {}, "finalizers": ["f", "g"]}),
            ),
            (
                json!({"labels": {"x": null}, "finalizers": ["h", "f"]}),
                json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"y": "2"}, "finalizers": ["h", "f", "g"]}),
            ),
            (
                json!({"$deleteFromPrimitiveList/finalizers": ["f"]}),
                json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"x": "1", "y": "2"}, "finalizers": ["g"]}),
            ),
        ];
        for (patch, expected) in cases {
            assert_eq!(patched(object(), patch.clone()), expected, "{patch}");
        }
    }

    #[test]
    fn retained_keys_drop_the_others_and_replaced_maps_do_not_merge() {
        let object = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "selector": {"a": "1"}});
        let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}, "selector": {"b": "2"}});
        assert_eq!(
            patched(object, patch),
            json!({"strategy": {"type": "Recreate"}, "selector": {"b": "2"}})
        );
    }

    #[test]
    fn an_element_order_puts_named_items_first_and_keeps_the_rest_in_their_place() {
        let names = |object: &Value| -> Vec<String> {
            object["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let object =
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "side"}, {"name": "c"}]});
        let patch = json!({
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "new"}],
            "containers": [{"name": "new", "image": "n"}, {"$patch": "delete", "name": "b"}],
        });
        assert_eq!(names(&patched(object, patch)), ["side", "c", "a", "new"]);
        let object = json!({"finalizers": ["a", "b", "c"]});
        let patch = json!({"$setElementOrder/finalizers": ["d", "c", "a"], "finalizers": ["d"], "$deleteFromPrimitiveList/finalizers": ["b"]});
        assert_eq!(
            patched(object, patch),
            json!({"finalizers": ["d", "c", "a"]})
        );
    }

    #[test]
    fn what_is_new_comes_without_directives_and_nulls() {
        let patch = json!({
            "labels": {"a": "1", "b": null}, "containers": [{"name": "a", "$setElementOrder/env": [], "image": null}, {"$patch": "delete", "name": "z"}],
        });
        assert_eq!(
            patched(json!({}), patch),
            json!({"labels": {"a": "1"}, "containers": [{"name": "a"}]})
        );
    }

    #[test]
    fn malformed_patches_are_refused_and_leave_the_object_alone() {
        for bad in [
            json!([]),
            json!({"$patch": "explode"}),
            json!({"containers": [{"image": "no name"}]}),
            json!({"containers": ["text"]}),
            json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}),
            json!({"$setElementOrder/containers": {}}),
            json!({"$setElementOrder/containers": [{"name": "x"}, {"name": "a"}], "containers": [{"name": "a"}, {"name": "x"}]}),
        ] {
            let mut object = json!({"containers": [{"name": "a"}], "strategy": {}});
            let before = object.clone();
            assert!(
                matches!(
                    strategic(&mut object, &bad, &schema()),
                    Err(Error::Malformed(_))
                ),
                "{bad}"
            );
            assert_eq!(object, before);
        }
    }

    fn containers() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-d]", "[0-9]", 0..4).prop_map(|items| {
            let list: Vec<Value> = items
                .into_iter()
                .map(|(name, image)| json!({"name": name, "image": image}))
                .collect();
            json!({ "containers": list })
        })
    }

    proptest! {
        #[test]
        fn patching_twice_is_patching_once(object in containers(), patch in containers()) {
            let once = patched(object, patch.clone());
            prop_assert_eq!(patched(once.clone(), patch), once);
        }

        #[test]
        fn what_the_patch_names_is_there_afterwards(object in containers(), patch in containers()) {
            let merged = patched(object, patch.clone());
            for item in patch["containers"].as_array().unwrap() {
                prop_assert!(merged["containers"].as_array().unwrap().contains(item));
            }
        }
    }
}
