//! Filling in defaults, and dropping nulls that say nothing.
//! A null that its field may not be stands for an absent field: the default takes its place, or it goes. Nulls in lists stay.

use serde_json::Value;

use super::{Arena, NodeId, Schema};

impl Schema {
    /// Fills in defaults, from the outside in, and drops nulls of fields that are not nullable.
    pub fn default(&self, value: &mut Value) {
        fill(&self.arena, self.id, value);
    }
}

fn fill(arena: &Arena, id: NodeId, value: &mut Value) {
    let node = arena.node(id);
    match value {
        Value::Object(map) => {
            map.retain(|name, child| {
                if !child.is_null() {
                    return true;
                }
                let Some(field) = node.field(name).map(|id| arena.node(id)) else {
                    return true;
                };
                if field.nullable || (field.preserve_unknown && field.kind == super::Type::Any) {
                    return true;
                }
                match &field.default {
                    // A declared field gets its default below.
                    Some(_) if node.properties.contains_key(name.as_str()) => false,
                    Some(default) => {
                        *child = default.clone();
                        true
                    }
                    None => false,
                }
            });
            if node.has_defaults {
                for (name, child) in node.properties.iter() {
                    if let Some(default) = &arena.node(*child).default
                        && !map.contains_key(&**name)
                    {
                        map.insert(name.to_string(), default.clone());
                    }
                }
            }
            for (name, present) in map.iter_mut() {
                if let Some(child) = node.field(name) {
                    fill(arena, child, present);
                }
            }
        }
        Value::Array(items) => {
            let Some(child) = node.items else { return };
            let field = arena.node(child);
            for present in items {
                if let (Value::Null, false, Some(default)) =
                    (&*present, field.nullable, &field.default)
                {
                    *present = default.clone();
                }
                fill(arena, child, present);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaulted(schema: Value, mut value: Value) -> Value {
        Schema::from_openapi(&schema).unwrap().default(&mut value);
        value
    }

    #[test]
    fn absent_fields_get_their_default_and_defaults_are_filled_in_too() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string", "default": "d"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "boolean", "default": true}}}},
            "plain": {"type": "string"},
        }});
        assert_eq!(
            defaulted(
                schema,
                json!({"list": [{}, {"x": "own"}], "map": {"k": {}}})
            ),
            json!({"a": {"b": 3}, "list": [{"x": "d"}, {"x": "own"}], "map": {"k": {"y": true}}})
        );
    }

    #[test]
    fn a_null_stays_only_where_it_is_allowed() {
        let schema = json!({"type": "object", "properties": {
            "strict": {"type": "string", "default": "d"},
            "free": {"type": "string", "default": "d", "nullable": true},
            "bare": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
        }});
        let value = json!({"strict": null, "free": null, "bare": null, "map": {"a": null, "b": "c"}, "list": [null]});
        assert_eq!(
            defaulted(schema, value),
            json!({"strict": "d", "free": null, "map": {"b": "c"}, "list": [null]})
        );
    }
}
