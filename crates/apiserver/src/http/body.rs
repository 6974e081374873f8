//! Request bodies: bounded, JSON or YAML, with a report of keys that stand twice.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::protobuf;
use crate::error::ApiError;

/// The largest body of a write, as upstream has it.
pub const MAX_BYTES: usize = 3 << 20;

/// The media types in which objects are taken and given.
pub const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// A decoded body.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The value.
    pub value: Value,
    /// Paths of keys that stood more than once; the last one won.
    pub duplicates: Vec<String>,
}

/// How much of a body that is too large is still taken in: a client that is not heard to the end sees a broken connection
/// instead of the answer.
const HEARD_OUT_BYTES: usize = 64 << 20;

/// Collects a body, refusing one that is too large.
pub async fn read(mut body: axum::body::Body) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|err| ApiError::bad_request(format!("reading the request body: {err}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= MAX_BYTES {
            kept.extend_from_slice(&data);
        } else if length > HEARD_OUT_BYTES {
            break;
        }
    }
    if length > MAX_BYTES {
        return Err(ApiError::too_large(format!("limit is {MAX_BYTES}")));
    }
    Ok(kept.freeze())
}

/// The media type without parameters; JSON when none is given.
pub fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .filter(|media| !media.is_empty())
        .unwrap_or("application/json")
}

/// Decodes a body by its media type.
pub fn decode(bytes: &[u8], media: &str) -> Result<Decoded, ApiError> {
    match media {
        "application/yaml"
        | "application/x-yaml"
        | "text/yaml"
        | "application/apply-patch+yaml" => {
            // Every JSON text is YAML, and the JSON reader is much faster.
            if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
                && let Ok(decoded) = json(bytes)
            {
                return Ok(decoded);
            }
            let text = std::str::from_utf8(bytes)
                .map_err(|_| ApiError::bad_request("the request body is not valid UTF-8"))?;
            // Clients look for the line and the words right after it.
            let value = objects::yaml::parse(text).map_err(|err| {
                let (line, problem) = (err.line, err.problem);
                ApiError::bad_request(format!("error decoding YAML: yaml: line {line}: {problem}"))
            })?;
            Ok(Decoded {
                value,
                duplicates: Vec::new(),
            })
        }
        protobuf::MEDIA_TYPE => match protobuf::decode(bytes) {
            Ok(value) => Ok(Decoded {
                value,
                duplicates: Vec::new(),
            }),
            Err(protobuf::Error::UnknownKind(_)) => {
                Err(objects::Status::unsupported_media_type(&ACCEPTED).into())
            }
            Err(err) => Err(ApiError::bad_request(err.to_string())),
        },
        _ => json(bytes).map_err(|err| {
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type JSON): {err}"
            ))
        }),
    }
}

/// Decodes JSON, noting duplicate keys.
pub fn json(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Node {
        path: String::new(),
        duplicates: &mut duplicates,
    }
    .deserialize(&mut reader)?;
    reader.end()?;
    Ok(Decoded { value, duplicates })
}

struct Node<'d> {
    path: String,
    duplicates: &'d mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, read.len());
            match items.next_element_seed(Node {
                path,
                duplicates: &mut *self.duplicates,
            })? {
                Some(item) => read.push(item),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            let value = fields.next_value_seed(Node {
                path: path.clone(),
                duplicates: &mut *self.duplicates,
            })?;
            if read.insert(key, value).is_some() {
                self.duplicates.push(path);
            }
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_path() {
        let read = json(br#"{"spec":{"a":1,"a":2},"items":[{"x":1,"x":2}]}"#).unwrap();
        assert_eq!(read.duplicates, ["spec.a", "items[0].x"]);
        assert_eq!(read.value["spec"]["a"], 2);
    }

    #[test]
    fn text_after_the_object_is_refused() {
        assert!(json(b"{} {}").is_err());
    }

    #[test]
    fn a_yaml_key_that_stands_twice_is_named_with_its_line() {
        let body = b"apiVersion: v1\nkind: A\nspec:\n  foo: 1\n  foo: 2\n";
        let refused = decode(body, "application/apply-patch+yaml").unwrap_err();
        assert_eq!(
            refused.0.message,
            "error decoding YAML: yaml: line 5: key \"foo\" already set in map"
        );
    }
}
