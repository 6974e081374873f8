//! Messages whose JSON is not an object of their fields.

use base64::Engine as _;
use serde_json::{Map, Number, Value};

use super::Error;
use super::wire::{Payload, Reader, text};

pub(super) fn base64(bytes: &[u8]) -> Value {
    base64::engine::general_purpose::STANDARD
        .encode(bytes)
        .into()
}

/// `{string: 1}` as its text.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Error> {
    first_bytes(bytes).and_then(|bytes| Ok(text(bytes)?.into()))
}

/// `{type: 1, intVal: 2, strVal: 3}` as the number or the text.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, Payload::Number(kind)) => is_text = kind == 1,
            (2, Payload::Number(value)) => number = value as i64,
            (3, Payload::Bytes(value)) => words = text(value)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

/// `{seconds: 1, nanos: 2}` as RFC 3339; the zero time is no time.
pub(super) fn time(bytes: &[u8], is_micro: bool) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, Payload::Number(value)) => seconds = value as i64,
            (2, Payload::Number(value)) => nanos = value as i32,
            _ => {}
        }
    }
    // Go's zero time is the year 1.
    if (seconds, nanos) == (0, 0) || seconds == -62_135_596_800 {
        return Ok(Value::Null);
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Malformed)?;
    let form = if is_micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(time.strftime(form).to_string().into())
}

/// A number as Go writes it: without a point where it is whole.
pub(super) fn double(number: f64) -> Value {
    // Beyond 2^53 not every whole number is one of these.
    if number.fract() == 0.0 && number.abs() < (1_u64 << 53) as f64 {
        return (number as i64).into();
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// In schemas some fields are a schema or something simpler: a message of both on the wire, the one that is there in JSON.
pub(super) fn either(message: &str, mut fields: Map<String, Value>) -> Value {
    let simpler = match message {
        "apiextensions.v1.JSONSchemaPropsOrArray" => "jSONSchemas",
        "apiextensions.v1.JSONSchemaPropsOrBool" => "allows",
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => "property",
        _ => return Value::Object(fields),
    };
    let absent = if simpler == "allows" {
        Value::Bool(false)
    } else {
        Value::Array(Vec::new())
    };
    fields
        .remove("schema")
        .or_else(|| fields.remove(simpler))
        .unwrap_or(absent)
}

/// `{raw: 1}` as the JSON in it.
pub(super) fn raw(bytes: &[u8]) -> Result<Value, Error> {
    let inner = first_bytes(bytes)?;
    if inner.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(inner).map_err(|_| Error::Malformed)
}

/// `{items: 1}` as a list of texts.
pub(super) fn texts(bytes: &[u8]) -> Result<Value, Error> {
    let mut items = Vec::new();
    for field in Reader::new(bytes) {
        if let (1, Payload::Bytes(item)) = field? {
            items.push(Value::String(text(item)?));
        }
    }
    Ok(items.into())
}

/// `{nanoseconds: 1}` as Go writes a duration, in seconds.
pub(super) fn duration(bytes: &[u8]) -> Result<Value, Error> {
    let mut nanoseconds = 0;
    for field in Reader::new(bytes) {
        if let (1, Payload::Number(value)) = field? {
            nanoseconds = value as i64;
        }
    }
    Ok(format!("{}s", nanoseconds as f64 / 1e9).into())
}

fn first_bytes(bytes: &[u8]) -> Result<&[u8], Error> {
    let mut found: &[u8] = &[];
    for field in Reader::new(bytes) {
        if let (1, Payload::Bytes(value)) = field? {
            found = value;
        }
    }
    Ok(found)
}
