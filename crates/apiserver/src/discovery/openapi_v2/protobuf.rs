//! A Swagger 2.0 document in protobuf, by the field numbers of gnostic's `OpenAPIv2.proto` (v0.6.9). Only what our own
//! documents have is written.

use serde_json::{Map, Value};

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, number: u32, wire: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire));
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, number: u32, message: Self) {
        self.bytes(number, &message.0);
    }

    fn with(mut self, number: u32, message: Self) -> Self {
        self.message(number, message);
        self
    }

    fn text(&mut self, number: u32, value: Option<&Value>) {
        if let Some(Value::String(text)) = value {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u32, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten() {
            self.text(number, Some(text));
        }
    }

    fn flag(&mut self, number: u32, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.key(number, 0);
            self.varint(1);
        }
    }

    fn integer(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_i64) {
            self.key(number, 0);
            self.varint(value as u64);
        }
    }

    fn double(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_f64) {
            self.key(number, 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Anything, as text that readers parse as YAML, which JSON is.
    fn any(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value {
            self.message(number, any(value));
        }
    }

    fn extensions(&mut self, number: u32, of: &Map<String, Value>) {
        for (name, value) in of.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(number, named(name, any(value)));
        }
    }
}

fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

/// An entry of what is a map in JSON.
fn named(name: &str, value: Message) -> Message {
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    message.with(2, value)
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Writes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document["info"].get("title"));
    info.text(2, document["info"].get("version"));
    message.message(2, info);
    let mut paths = Message::default();
    for (path, item) in fields(&document["paths"]) {
        paths.message(2, named(path, path_item(item)));
    }
    message.message(8, paths);
    let mut definitions = Message::default();
    for (name, definition) in fields(&document["definitions"]) {
        definitions.message(1, named(name, schema(definition)));
    }
    message.message(9, definitions);
    for requirement in document["security"].as_array().into_iter().flatten() {
        let mut all = Message::default();
        for (name, scopes) in fields(requirement) {
            let mut list = Message::default();
            list.texts(1, Some(scopes));
            all.message(1, named(name, list));
        }
        message.message(12, all);
    }
    let mut security = Message::default();
    for (name, definition) in fields(&document["securityDefinitions"]) {
        let mut key = Message::default();
        for (number, field) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
            key.text(number, definition.get(field));
        }
        security.message(1, named(name, Message::default().with(2, key)));
    }
    message.message(13, security);
    message.0
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if let Some(Value::Object(operation)) = item.get(method) {
            message.message(number, self::operation(operation));
        }
    }
    for parameter in item["parameters"].as_array().into_iter().flatten() {
        message.message(9, self::parameter(parameter));
    }
    message
}

fn operation(operation: &Map<String, Value>) -> Message {
    let mut message = Message::default();
    message.text(5, operation.get("operationId"));
    message.texts(6, operation.get("produces"));
    message.texts(7, operation.get("consumes"));
    for parameter in operation
        .get("parameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        message.message(8, self::parameter(parameter));
    }
    let mut answers = Message::default();
    for (code, answer) in operation.get("responses").into_iter().flat_map(fields) {
        let mut response = Message::default();
        response.text(1, answer.get("description"));
        if let Some(schema) = answer.get("schema") {
            response.message(2, Message::default().with(1, self::schema(schema)));
        }
        answers.message(1, named(code, Message::default().with(1, response)));
    }
    message.message(9, answers);
    message.texts(10, operation.get("schemes"));
    message.extensions(13, operation);
    message
}

fn parameter(parameter: &Value) -> Message {
    let mut inner = Message::default();
    let place = match parameter["in"].as_str() {
        Some("body") => {
            for (number, field) in [(1, "description"), (2, "name"), (3, "in")] {
                inner.text(number, parameter.get(field));
            }
            inner.flag(4, parameter.get("required"));
            if let Some(schema) = parameter.get("schema") {
                inner.message(5, self::schema(schema));
            }
            Message::default().with(1, inner)
        }
        place => {
            // In a path there is no empty value, which is why its later fields have other numbers.
            let (number, shift) = if place == Some("path") {
                (4, 0)
            } else {
                (3, 1)
            };
            inner.flag(1, parameter.get("required"));
            for (number, field) in [
                (2, "in"),
                (3, "description"),
                (4, "name"),
                (5 + shift, "type"),
            ] {
                inner.text(number, parameter.get(field));
            }
            inner.flag(19 + shift, parameter.get("uniqueItems"));
            Message::default().with(2, Message::default().with(number, inner))
        }
    };
    Message::default().with(1, place)
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    let Value::Object(schema) = schema else {
        return message;
    };
    let get = |name: &str| schema.get(name);
    for (number, field) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        message.text(number, get(field));
    }
    message.any(5, get("default"));
    message.double(6, get("multipleOf"));
    message.double(7, get("maximum"));
    message.flag(8, get("exclusiveMaximum"));
    message.double(9, get("minimum"));
    message.flag(10, get("exclusiveMinimum"));
    message.integer(11, get("maxLength"));
    message.integer(12, get("minLength"));
    message.text(13, get("pattern"));
    message.integer(14, get("maxItems"));
    message.integer(15, get("minItems"));
    message.flag(16, get("uniqueItems"));
    message.integer(17, get("maxProperties"));
    message.integer(18, get("minProperties"));
    message.texts(19, get("required"));
    for value in get("enum").and_then(Value::as_array).into_iter().flatten() {
        message.any(20, Some(value));
    }
    match get("additionalProperties") {
        Some(Value::Bool(value)) => {
            // One of two, so that "no" is said and not left out.
            let mut item = Message::default();
            item.key(2, 0);
            item.varint((*value).into());
            message.message(21, item);
        }
        Some(inner) => message.message(21, Message::default().with(1, self::schema(inner))),
        None => {}
    }
    if let Some(kind) = get("type") {
        let mut item = Message::default();
        item.text(1, Some(kind));
        message.message(22, item);
    }
    if let Some(items) = get("items") {
        message.message(23, Message::default().with(1, self::schema(items)));
    }
    if let Some(properties) = get("properties") {
        let mut all = Message::default();
        for (name, property) in fields(properties) {
            all.message(1, named(name, self::schema(property)));
        }
        message.message(25, all);
    }
    message.any(30, get("example"));
    message.extensions(31, schema);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_the_published_numbers() {
        let bytes = schema(&json!({"type": "string", "maxLength": 300, "x-a": 1})).0;
        // 11: varint 300; 22: TypeItem{1: "string"}; 31: NamedAny{1: "x-a", 2: Any{2: "1"}}.
        let expected = [
            &[0x58, 0xac, 0x02][..],
            &[0xb2, 0x01, 8, 0x0a, 6],
            b"string",
            &[0xfa, 0x01, 10, 0x0a, 3],
            b"x-a",
            &[0x12, 3, 0x12, 1, b'1'],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn no_more_properties_is_said_and_not_left_out() {
        assert_eq!(
            schema(&json!({"additionalProperties": false})).0,
            [0xaa, 0x01, 2, 0x10, 0]
        );
    }

    #[test]
    fn a_parameter_in_the_query_and_one_in_the_path_differ_in_their_numbers() {
        let in_query = parameter(&json!({"name": "n", "in": "query", "uniqueItems": true})).0;
        let in_path = parameter(&json!({"name": "n", "in": "path", "uniqueItems": true})).0;
        assert_eq!(in_query[..6], [0x0a, 17, 0x12, 15, 0x1a, 13]);
        assert_eq!(in_query[in_query.len() - 3..], [0xa0, 0x01, 1]);
        assert_eq!(in_path[4], 0x22);
        assert_eq!(in_path[in_path.len() - 3..], [0x98, 0x01, 1]);
    }
}
