//! The JSON of a list's filter, as clients write it: field names in either spelling, operations by name or number.

use serde_json::Value;

use super::list::{Operand, Operation, Predicate, Scalar};
use super::{Error, Result};

/// Reads the JSON of a filter.
pub(super) fn parse_filter(filter: &str) -> Result<Vec<Predicate>> {
    if filter.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: Value = serde_json::from_str(filter)
        .map_err(|problem| Error::List(format!("filter is not JSON: {problem}")))?;
    match parsed.get("predicates") {
        None if parsed.as_object().is_some_and(serde_json::Map::is_empty) => Ok(Vec::new()),
        Some(Value::Array(predicates)) => predicates.iter().map(parse_predicate).collect(),
        _ => Err(Error::List(
            "filter must be {\"predicates\": […]}".to_owned(),
        )),
    }
}

fn parse_predicate(predicate: &Value) -> Result<Predicate> {
    let fields = predicate
        .as_object()
        .ok_or_else(|| Error::List("filter: a predicate is a mapping".to_owned()))?;
    let mut key = None;
    let mut operation = None;
    let mut operand = None;
    for (name, value) in fields {
        let bad = || Error::List(format!("filter: {name} has a value of the wrong type"));
        let list = |value: &Value| {
            value
                .get("values")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        match crate::ir::schema::camel_case(name).as_str() {
            "key" => key = Some(value.as_str().ok_or_else(bad)?.to_owned()),
            "operation" | "op" => operation = Some(parse_operation(value)?),
            "stringValue" => {
                operand = Some(Operand::One(Scalar::Text(
                    value.as_str().ok_or_else(bad)?.to_owned(),
                )))
            }
            "intValue" | "longValue" => {
                operand = Some(Operand::One(Scalar::Number(number(value).ok_or_else(bad)?)))
            }
            "timestampValue" => {
                operand = Some(Operand::One(Scalar::Time(match value {
                    Value::String(text) => parse_time(text)?,
                    other => other.get("seconds").and_then(number).ok_or_else(bad)? * 1_000_000,
                })))
            }
            "stringValues" => {
                operand = Some(Operand::Many(
                    list(value)
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map(|text| Scalar::Text(text.to_owned()))
                                .ok_or_else(bad)
                        })
                        .collect::<Result<_>>()?,
                ))
            }
            "intValues" | "longValues" => {
                operand = Some(Operand::Many(
                    list(value)
                        .iter()
                        .map(|item| number(item).map(Scalar::Number).ok_or_else(bad))
                        .collect::<Result<_>>()?,
                ))
            }
            _ => {
                return Err(Error::List(format!(
                    "filter: unknown field {name:?} in a predicate"
                )));
            }
        }
    }
    match (key, operation, operand) {
        (Some(key), Some(operation), Some(operand)) => Ok(Predicate {
            key,
            operation,
            operand,
        }),
        _ => Err(Error::List(
            "filter: a predicate needs key, operation and one value".to_owned(),
        )),
    }
}

fn parse_operation(value: &Value) -> Result<Operation> {
    const KNOWN: [(&str, i64, Operation); 8] = [
        ("EQUALS", 1, Operation::Equals),
        ("NOT_EQUALS", 2, Operation::NotEquals),
        ("GREATER_THAN", 3, Operation::GreaterThan),
        ("GREATER_THAN_EQUALS", 5, Operation::GreaterThanEquals),
        ("LESS_THAN", 6, Operation::LessThan),
        ("LESS_THAN_EQUALS", 7, Operation::LessThanEquals),
        ("IN", 8, Operation::In),
        ("IS_SUBSTRING", 9, Operation::IsSubstring),
    ];
    let known = KNOWN
        .iter()
        .find(|(name, code, _)| value.as_str() == Some(name) || value.as_i64() == Some(*code));
    known
        .map(|(_, _, operation)| *operation)
        .ok_or_else(|| Error::List(format!("filter: unknown operation {value}")))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn parse_time(text: &str) -> Result<i64> {
    text.parse::<jiff::Timestamp>()
        .map(|at| at.as_microsecond())
        .map_err(|_| Error::List(format!("filter: {text:?} is not an RFC 3339 time")))
}
