//! Values against declared types: what a run is given, what a task is given, what a step wrote as text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::component::{ParameterSpec, ParameterType};
use super::{Error, numbers, schema};

/// Checks the parameters of a new run and returns them normalised. Defaults are not filled in: the run shows what it was
/// given.
pub fn check_run(
    declared: &BTreeMap<String, ParameterSpec>,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let path = |name: &str| format!("runtime_config.parameters.{name}");
    let mut checked = Map::new();
    for (name, value) in given {
        let Some(spec) = declared.get(name) else {
            let known = if declared.is_empty() {
                "the pipeline takes none".to_owned()
            } else {
                format!(
                    "known: {}",
                    declared.keys().cloned().collect::<Vec<_>>().join(", ")
                )
            };
            return Err(Error::field(
                path(name),
                format!("the pipeline has no such parameter; {known}"),
            ));
        };
        let mut value = value.clone();
        numbers::normalise(&mut value);
        if value.is_null() && spec.is_optional {
            checked.insert(name.clone(), value);
            continue;
        }
        check_type(&value, spec.kind()).map_err(|problem| Error::field(path(name), problem))?;
        check_literals(&value, spec).map_err(|problem| Error::field(path(name), problem))?;
        checked.insert(name.clone(), value);
    }
    for (name, spec) in declared {
        if spec.default_value.is_none() && !spec.is_optional && !given.contains_key(name) {
            return Err(Error::field(
                path(name),
                "is required: the parameter has no default",
            ));
        }
    }
    Ok(checked)
}

/// Makes a value fit a task's declared input: text inputs take anything as JSON text, other mismatches are errors.
pub fn fit(mut value: Value, spec: &ParameterSpec) -> Result<Value, String> {
    numbers::normalise(&mut value);
    let kind = spec.kind();
    if is_text(kind) && !value.is_string() {
        value = Value::String(text(&value));
    } else if let (false, Value::String(raw)) = (is_text(kind), &value) {
        // Constants with placeholders and loop items arrive as text.
        value = parse_text(raw, kind)?;
    }
    check_type(&value, kind)?;
    check_literals(&value, spec)?;
    Ok(value)
}

/// Reads the text a step wrote for an output parameter.
pub fn parse_text(raw: &str, kind: ParameterType) -> Result<Value, String> {
    if is_text(kind) {
        return Ok(Value::String(raw.to_owned()));
    }
    let trimmed = raw.trim();
    if kind == ParameterType::Boolean {
        match trimmed {
            "True" => return Ok(true.into()),
            "False" => return Ok(false.into()),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(trimmed)
        .map_err(|_| format!("{:?} is not {}", shorten(raw), in_words(kind)))?;
    numbers::normalise(&mut value);
    check_type(&value, kind)?;
    Ok(value)
}

/// A value as it stands in a command line: text as is, numbers plainly, everything else as compact JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => numbers::plain(number),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn check_type(value: &Value, kind: ParameterType) -> Result<(), String> {
    let fits = match kind {
        ParameterType::String | ParameterType::ParameterTypeEnumUnspecified => value.is_string(),
        ParameterType::NumberDouble => value.is_number(),
        ParameterType::NumberInteger => value.is_i64() || value.is_u64(),
        ParameterType::Boolean => value.is_boolean(),
        ParameterType::List => value.is_array(),
        ParameterType::Struct | ParameterType::TaskFinalStatus | ParameterType::TaskConfig => {
            value.is_object()
        }
    };
    if fits {
        Ok(())
    } else {
        Err(format!(
            "must be {}, is {} ({})",
            in_words(kind),
            schema::kind_of(value),
            shorten(&value.to_string())
        ))
    }
}

fn check_literals(value: &Value, spec: &ParameterSpec) -> Result<(), String> {
    let same = |literal: &Value| {
        literal == value
            || literal
                .as_f64()
                .is_some_and(|number| value.as_f64() == Some(number))
    };
    if spec.literals.is_empty() || spec.literals.iter().any(same) {
        return Ok(());
    }
    let allowed: Vec<String> = spec.literals.iter().map(Value::to_string).collect();
    Err(format!(
        "{} is not one of the allowed values {}",
        shorten(&value.to_string()),
        allowed.join(", ")
    ))
}

fn is_text(kind: ParameterType) -> bool {
    matches!(
        kind,
        ParameterType::String | ParameterType::ParameterTypeEnumUnspecified
    )
}

fn in_words(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::NumberDouble => "a number",
        ParameterType::NumberInteger => "an integral number",
        ParameterType::String | ParameterType::ParameterTypeEnumUnspecified => "text",
        ParameterType::Boolean => "true or false",
        ParameterType::List => "a list",
        ParameterType::Struct | ParameterType::TaskFinalStatus | ParameterType::TaskConfig => {
            "a mapping"
        }
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(60).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn declared(document: Value) -> BTreeMap<String, ParameterSpec> {
        serde_json::from_value(document).unwrap()
    }

    fn complaint(declared: &BTreeMap<String, ParameterSpec>, given: Value) -> String {
        check_run(declared, given.as_object().unwrap())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_run_must_give_what_has_no_default_in_its_type_and_nothing_else() {
        let declared = declared(json!({
            "n": {"parameterType": "NUMBER_INTEGER"},
            "who": {"parameterType": "STRING", "defaultValue": "x", "literals": ["x", "y"]},
            "maybe": {"parameterType": "LIST", "isOptional": true},
        }));
        assert_eq!(
            complaint(&declared, json!({})),
            "runtime_config.parameters.n: is required: the parameter has no default"
        );
        assert_eq!(
            complaint(&declared, json!({"n": "3"})),
            "runtime_config.parameters.n: must be an integral number, is text (\"3\")"
        );
        assert_eq!(
            complaint(&declared, json!({"n": 1.5})),
            "runtime_config.parameters.n: must be an integral number, is a number (1.5)"
        );
        assert!(
            complaint(&declared, json!({"n": 1, "z": 1}))
                .contains("no such parameter; known: maybe, n, who")
        );
        assert!(
            complaint(&declared, json!({"n": 1, "who": "z"}))
                .contains("not one of the allowed values \"x\", \"y\"")
        );
        let checked = check_run(
            &declared,
            json!({"n": 3.0, "maybe": null}).as_object().unwrap(),
        )
        .unwrap();
        assert_eq!(Value::Object(checked), json!({"n": 3, "maybe": null}));
    }

    #[test]
    fn a_text_input_takes_any_value_as_json_text() {
        let text = ParameterSpec {
            parameter_type: Some(ParameterType::String),
            ..ParameterSpec::default()
        };
        assert_eq!(
            fit(json!({"b": 1.0, "a": [true]}), &text).unwrap(),
            json!(r#"{"a":[true],"b":1}"#)
        );
        assert_eq!(fit(json!(3.0), &text).unwrap(), json!("3"));
    }

    #[test]
    fn other_mismatches_are_errors() {
        let list = ParameterSpec {
            parameter_type: Some(ParameterType::List),
            ..ParameterSpec::default()
        };
        assert!(fit(json!(3), &list).is_err());
        assert_eq!(fit(json!("[1, 2.0]"), &list).unwrap(), json!([1, 2]));
    }

    #[test]
    fn output_text_is_read_by_declared_type() {
        assert_eq!(
            parse_text("3\n", ParameterType::String).unwrap(),
            json!("3\n")
        );
        assert_eq!(
            parse_text(" 3.0\n", ParameterType::NumberInteger).unwrap(),
            json!(3)
        );
        assert_eq!(
            parse_text("True", ParameterType::Boolean).unwrap(),
            json!(true)
        );
        assert_eq!(
            parse_text("{\"a\": 1}", ParameterType::Struct).unwrap(),
            json!({"a": 1})
        );
        assert_eq!(
            parse_text("abc", ParameterType::NumberDouble).unwrap_err(),
            "\"abc\" is not a number"
        );
    }
}
