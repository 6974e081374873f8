//! Documents of OpenAPI 3.0 joined into one of Swagger 2.0. What the older language cannot say is left out.

use serde_json::{Map, Value, json};

use crate::discovery::GIT_VERSION;

const OLD_PLACE: &str = "#/components/schemas/";
const NEW_PLACE: &str = "#/definitions/";
const KINDS: &str = "x-kubernetes-group-version-kind";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// What a schema may have here, besides extensions and what holds other schemas.
const PLAIN: [&str; 20] = [
    "default",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "uniqueItems",
];

/// One document out of many.
pub(super) fn merge(documents: impl Iterator<Item = Value>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for mut document in documents {
        if let Value::Object(more) = document["components"]["schemas"].take() {
            for (name, schema) in more {
                let schema = definition(&schema);
                // Several groups use a definition; the one that it belongs to knows its kind.
                let knows_more = schema.get(KINDS).is_some();
                if knows_more || !definitions.contains_key(&name) {
                    definitions.insert(name, schema);
                }
            }
        }
        if let Value::Object(more) = document["paths"].take() {
            paths.extend(more.into_iter().map(|(path, item)| {
                let item = self::path(&path, &item);
                (path, item)
            }));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

/// A kind that keeps unknown fields says no more than that it is an object: kubectl refuses every field but those named.
fn definition(old: &Value) -> Value {
    match old.get(KINDS) {
        Some(kinds) if old[PRESERVES] == true => json!({"type": "object", KINDS: kinds}),
        _ => schema(old),
    }
}

fn schema(old: &Value) -> Value {
    let Value::Object(old) = old else {
        return old.clone();
    };
    let preserves = old.get(PRESERVES) == Some(&Value::Bool(true));
    if let Some(reference) = reference(old) {
        let mut new = Map::from_iter([("$ref".to_owned(), reference)]);
        if let Some(words) = old.get("description") {
            new.insert("description".into(), words.clone());
        }
        new.extend(extensions(old));
        return new.into();
    }
    let mut new: Map<String, Value> = extensions(old).collect();
    if old
        .get("format")
        .is_some_and(|format| format == "int-or-string")
    {
        // There is no "either" here; this is how it has always been written.
        new.insert("type".into(), "string".into());
    } else if let Some(kind) = old.get("type")
        // Where fields may be unknown, or items of any kind, kubectl wants to hear of no type.
        && !(preserves && kind == "object")
        && !(kind == "array" && (preserves || !old.contains_key("items")))
    {
        new.insert("type".into(), kind.clone());
    }
    for name in PLAIN {
        if let Some(value) = old.get(name) {
            new.insert(name.into(), value.clone());
        }
    }
    if let Some(Value::Object(properties)) = old.get("properties")
        && !preserves
    {
        let properties: Map<_, _> = properties
            .iter()
            .map(|(name, property)| (name.clone(), schema(property)))
            .collect();
        new.insert("properties".into(), properties.into());
    }
    for name in ["items", "additionalProperties"] {
        let is_hidden = name == "items" && preserves;
        if let Some(inner) = old.get(name).filter(|_| !is_hidden) {
            new.insert(name.into(), schema(inner));
        }
    }
    new.into()
}

/// A reference, alone or as the only one of `allOf`.
fn reference(schema: &Map<String, Value>) -> Option<Value> {
    let only = match schema
        .get("allOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([only]) => only.get("$ref"),
        _ => None,
    };
    let place = schema.get("$ref").or(only)?.as_str()?;
    Some(
        format!(
            "{NEW_PLACE}{}",
            place.strip_prefix(OLD_PLACE).unwrap_or(place)
        )
        .into(),
    )
}

fn extensions(schema: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    let extensions = schema.iter().filter(|(name, _)| name.starts_with("x-"));
    extensions.map(|(name, value)| (name.clone(), value.clone()))
}

fn path(path: &str, old: &Value) -> Value {
    let mut new = Map::new();
    let in_path: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true}))
        .collect();
    if !in_path.is_empty() {
        new.insert("parameters".into(), in_path.into());
    }
    for method in METHODS {
        if let Some(Value::Object(old)) = old.get(method) {
            new.insert(method.into(), operation(old));
        }
    }
    new.into()
}

fn operation(old: &Map<String, Value>) -> Value {
    let mut new: Map<String, Value> = extensions(old).collect();
    if let Some(id) = old.get("operationId") {
        new.insert("operationId".into(), id.clone());
    }
    let mut parameters: Vec<Value> = Vec::new();
    for parameter in old
        .get("parameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let mut flat = parameter.clone();
        if let Value::Object(inner) = flat["schema"].take() {
            for (name, value) in inner {
                flat[name] = value;
            }
        }
        if let Some(fields) = flat.as_object_mut() {
            fields.remove("schema");
        }
        parameters.push(flat);
    }
    let body = old
        .get("requestBody")
        .and_then(|body| body["content"].as_object());
    let media: Vec<&String> = body.into_iter().flat_map(Map::keys).collect();
    new.insert(
        "consumes".into(),
        if media.is_empty() {
            json!(["*/*"])
        } else {
            json!(media)
        },
    );
    if let Some(content) = body.and_then(|body| body.values().next()) {
        parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema(&content["schema"])}));
    }
    new.insert("parameters".into(), parameters.into());
    let mut answers = Map::new();
    for (code, answer) in old
        .get("responses")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let content = answer["content"]
            .as_object()
            .and_then(|content| content.values().next());
        let mut new = json!({"description": answer["description"]});
        if let Some(content) = content {
            new["schema"] = schema(&content["schema"]);
        }
        answers.insert(code.clone(), new);
    }
    new.insert("responses".into(), answers.into());
    new.insert(
        "produces".into(),
        json!(["application/json", "application/yaml"]),
    );
    new.insert("schemes".into(), json!(["https"]));
    new.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_reference_keeps_its_words() {
        let old = json!({"description": "why", "allOf": [{"$ref": "#/components/schemas/a.B"}], "default": {}});
        assert_eq!(
            schema(&old),
            json!({"$ref": "#/definitions/a.B", "description": "why"})
        );
    }

    #[test]
    fn what_the_older_language_cannot_say_is_left_out_and_extensions_stay() {
        let old = json!({
            "type": "object", "nullable": true, "anyOf": [{"required": ["a"]}], "x-kubernetes-patch-merge-key": "name",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/components/schemas/X"}},
                "b": {"type": "object", "additionalProperties": {"type": "string"}},
                "c": {"additionalProperties": true, "format": "int-or-string", "oneOf": []}}});
        let new = json!({
            "type": "object", "x-kubernetes-patch-merge-key": "name",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/definitions/X"}},
                "b": {"type": "object", "additionalProperties": {"type": "string"}},
                "c": {"additionalProperties": true, "format": "int-or-string", "type": "string"}}});
        assert_eq!(schema(&old), new);
    }

    #[test]
    fn what_keeps_unknown_fields_names_none() {
        let open =
            json!({"type": "object", PRESERVES: true, "properties": {"a": {"type": "string"}}});
        assert_eq!(schema(&open), json!({PRESERVES: true}));
        let mut kind = open;
        kind[KINDS] = json!([{"kind": "Open"}]);
        assert_eq!(
            definition(&kind),
            json!({"type": "object", KINDS: [{"kind": "Open"}]})
        );
    }

    #[test]
    fn the_definition_that_knows_its_kind_wins() {
        let bare = json!({"components": {"schemas": {"Pod": {"type": "object"}}}});
        let full = json!({"components": {"schemas": {"Pod": {"type": "object", KINDS: [{"kind": "Pod"}]}}}});
        for order in [[bare.clone(), full.clone()], [full.clone(), bare.clone()]] {
            let merged = merge(order.into_iter());
            assert_eq!(merged["definitions"]["Pod"][KINDS][0]["kind"], "Pod");
        }
    }

    #[test]
    fn parameters_and_bodies_are_told_the_older_way() {
        let old = json!({"patch": {
            "operationId": "patchPod",
            "parameters": [{"name": "dryRun", "in": "query", "schema": {"type": "string", "uniqueItems": true}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/P"}}}},
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "string"}}}}},
        }});
        let new = path("/api/v1/pods/{name}", &old);
        assert_eq!(new["parameters"][0]["name"], "name");
        let patch = &new["patch"];
        assert_eq!(
            patch["parameters"][0],
            json!({"name": "dryRun", "in": "query", "type": "string", "uniqueItems": true})
        );
        assert_eq!(
            patch["parameters"][1]["schema"],
            json!({"$ref": "#/definitions/P"})
        );
        assert_eq!(patch["consumes"], json!(["application/json"]));
        assert_eq!(patch["responses"]["200"]["schema"]["type"], "string");
    }
}
