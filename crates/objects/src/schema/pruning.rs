//! Dropping, or only naming, fields that a schema does not declare.

use serde_json::Value;

use super::{Additional, Arena, NodeId, Schema};

impl Schema {
    /// Drops undeclared fields and says which.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        let mut dropped = Vec::new();
        prune(
            &self.arena,
            self.id,
            value,
            &mut String::new(),
            &mut dropped,
        );
        dropped
    }

    /// Names undeclared fields, for `unknown field "spec.foo"`.
    pub fn unknown_fields(&self, value: &Value) -> Vec<String> {
        let mut unknown = Vec::new();
        find(
            &self.arena,
            self.id,
            value,
            &mut String::new(),
            &mut unknown,
        );
        unknown
    }
}

/// What to do with a field that has no schema of its own.
enum Undeclared {
    Drop,
    Keep,
}

/// The schema of a field, or what becomes of a field without one.
fn schema_of(arena: &Arena, id: NodeId, name: &str) -> Result<NodeId, Undeclared> {
    let node = arena.node(id);
    match node.field(name) {
        Some(child) => Ok(child),
        None if node.keeps_undeclared() || node.additional == Additional::Any => {
            Err(Undeclared::Keep)
        }
        None => Err(Undeclared::Drop),
    }
}

fn push(path: &mut String, name: &str) -> usize {
    let len = path.len();
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
    len
}

fn prune(
    arena: &Arena,
    id: NodeId,
    value: &mut Value,
    path: &mut String,
    dropped: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => map.retain(|name, child| {
            let len = push(path, name);
            let is_kept = match schema_of(arena, id, name) {
                Ok(schema) => {
                    prune(arena, schema, child, path, dropped);
                    true
                }
                Err(Undeclared::Keep) => true,
                Err(Undeclared::Drop) => {
                    dropped.push(path.clone());
                    false
                }
            };
            path.truncate(len);
            is_kept
        }),
        Value::Array(items) => {
            let Some(schema) = arena.node(id).items else {
                return;
            };
            for (index, item) in items.iter_mut().enumerate() {
                let len = path.len();
                path.push_str(&format!("[{index}]"));
                prune(arena, schema, item, path, dropped);
                path.truncate(len);
            }
        }
        _ => {}
    }
}

fn find(arena: &Arena, id: NodeId, value: &Value, path: &mut String, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let len = push(path, name);
                match schema_of(arena, id, name) {
                    Ok(schema) => find(arena, schema, child, path, unknown),
                    Err(Undeclared::Keep) => {}
                    Err(Undeclared::Drop) => unknown.push(path.clone()),
                }
                path.truncate(len);
            }
        }
        Value::Array(items) => {
            let Some(schema) = arena.node(id).items else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                let len = path.len();
                path.push_str(&format!("[{index}]"));
                find(arena, schema, item, path, unknown);
                path.truncate(len);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::custom_resource(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "integer"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                     "properties": {"inner": {"type": "object", "properties": {"z": {"type": "integer"}}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }}}}))
        .unwrap()
    }

    #[test]
    fn undeclared_fields_are_named_by_path_and_dropped() {
        let mut value = json!({
            "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "bogus": 1},
            "spec": {"known": "k", "foo": 1, "list": [{"x": 1, "bar": 2}], "map": {"any": {"y": 1, "baz": 3}},
                     "open": {"free": {"deep": 1}, "inner": {"z": 1, "odd": 2}},
                     "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "typo": 1}, "spec": {"any": 1}}},
            "extra": true,
        });
        let expected = [
            "extra",
            "metadata.bogus",
            "spec.foo",
            "spec.list[0].bar",
            "spec.map.any.baz",
            "spec.open.inner.odd",
            "spec.pod.metadata.typo",
        ];
        assert_eq!(schema().unknown_fields(&value), expected);
        assert_eq!(schema().prune(&mut value), expected);
        assert_eq!(
            value,
            json!({
                "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"},
                "spec": {"known": "k", "list": [{"x": 1}], "map": {"any": {"y": 1}},
                         "open": {"free": {"deep": 1}, "inner": {"z": 1}},
                         "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"any": 1}}},
            })
        );
        assert_eq!(schema().prune(&mut value), Vec::<String>::new());
    }
}
