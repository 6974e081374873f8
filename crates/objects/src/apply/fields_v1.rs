//! `fieldsV1`: sets of paths as nested JSON. `f:name`, `k:{…}`, `v:…`, `i:0` are steps; `.` marks a member with children.

use serde_json::{Map, Value};

use super::path::PathElement;
use super::set::FieldSet;

/// A set as `fieldsV1`.
pub(super) fn encode(set: &FieldSet) -> Value {
    let mut out = Map::new();
    for element in &set.members {
        if !set.children.contains_key(element) {
            out.insert(step(element), Value::Object(Map::new()));
        }
    }
    for (element, child) in &set.children {
        let Value::Object(mut below) = encode(child) else {
            continue;
        };
        if set.members.contains(element) {
            below.insert(".".to_owned(), Value::Object(Map::new()));
        }
        out.insert(step(element), Value::Object(below));
    }
    Value::Object(out)
}

fn step(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
        PathElement::Key(keys) => format!("k:{}", Value::Object(keys.clone())),
        PathElement::Value(value) => format!("v:{value}"),
        PathElement::Index(index) => format!("i:{index}"),
    }
}

/// Reads `fieldsV1`; `None` if it is malformed.
pub(super) fn decode(fields: &Value) -> Option<FieldSet> {
    let mut set = FieldSet::default();
    for (step, below) in fields.as_object()? {
        if step == "." {
            continue;
        }
        let Some(element) = element(step)? else {
            continue;
        };
        let child = decode(below)?;
        if child.is_empty() || below.get(".").is_some() {
            set.members.insert(element.clone());
        }
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
    Some(set)
}

/// A step; `Some(None)` for one of a sort that does not exist yet, which is passed over.
fn element(step: &str) -> Option<Option<PathElement>> {
    let (sort, content) = step.split_once(':')?;
    Some(Some(match sort {
        "f" => PathElement::Field(content.to_owned()),
        "k" => match serde_json::from_str(content).ok()? {
            Value::Object(keys) => PathElement::Key(keys),
            _ => return None,
        },
        "v" => PathElement::Value(serde_json::from_str(content).ok()?),
        "i" => PathElement::Index(content.parse().ok()?),
        _ => return Some(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_sort_of_step_survives_both_ways() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}, "f:list": {"i:2": {}}},
        });
        let set = decode(&fields).unwrap();
        assert_eq!(encode(&set), fields);
        assert!(set.has(&[PathElement::field("metadata"), PathElement::field("labels")]));
        assert!(!set.has(&[PathElement::field("spec")]));
    }

    #[test]
    fn malformed_fields_are_refused_and_unknown_sorts_passed_over() {
        for bad in [
            json!([]),
            json!({"f": {}}),
            json!({"k:[1]": {}}),
            json!({"v:": {}}),
            json!({"i:x": {}}),
            json!({"f:a": 1}),
        ] {
            assert_eq!(decode(&bad), None, "{bad}");
        }
        assert!(decode(&json!({"z:new": {}})).unwrap().is_empty());
    }
}
