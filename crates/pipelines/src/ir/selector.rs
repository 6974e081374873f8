//! `parameterExpressionSelector`: the one form compilers write, `parseJson(string_value)["key"]`, with any number of
//! keys and list indices.

use serde_json::Value;

enum Step {
    Key(String),
    Index(usize),
}

/// Complains about an expression that cannot be followed.
pub fn check(expression: &str) -> Result<(), String> {
    parse(expression).map(|_| ())
}

/// Follows an expression into a value; text is read as JSON first.
pub fn select(expression: &str, value: &Value) -> Result<Value, String> {
    let parsed;
    let mut current = match value {
        Value::String(text) => {
            parsed = serde_json::from_str(text)
                .map_err(|problem| format!("{expression}: the value is not JSON: {problem}"))?;
            &parsed
        }
        other => other,
    };
    for step in parse(expression)? {
        let found = match &step {
            Step::Key(key) => current.get(key.as_str()),
            Step::Index(index) => current.get(*index),
        };
        current = found.ok_or_else(|| match step {
            Step::Key(key) => format!("{expression}: the value has no field {key:?}"),
            Step::Index(index) => format!("{expression}: the value has no item {index}"),
        })?;
    }
    Ok(current.clone())
}

fn parse(expression: &str) -> Result<Vec<Step>, String> {
    let unknown = || format!("{expression:?} is not of the form parseJson(string_value)[\"key\"]");
    let mut rest = expression
        .trim()
        .strip_prefix("parseJson(string_value)")
        .ok_or_else(unknown)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').ok_or_else(unknown)?;
        let quote = inside
            .chars()
            .next()
            .filter(|letter| matches!(letter, '"' | '\''));
        let (step, after) = match quote {
            Some(quote) => {
                let body = &inside[1..];
                let mut key = String::new();
                let mut letters = body.char_indices();
                let end = loop {
                    match letters.next().ok_or_else(unknown)? {
                        (_, '\\') => key.push(letters.next().ok_or_else(unknown)?.1),
                        (at, letter) if letter == quote => break at + 1,
                        (_, letter) => key.push(letter),
                    }
                };
                (
                    Step::Key(key),
                    body[end..].strip_prefix(']').ok_or_else(unknown)?,
                )
            }
            None => {
                let (digits, after) = inside.split_once(']').ok_or_else(unknown)?;
                (
                    Step::Index(digits.trim().parse().map_err(|_| unknown())?),
                    after,
                )
            }
        };
        steps.push(step);
        rest = after.trim_start();
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_selected_from_json_text_and_from_a_value() {
        let expression = r#"parseJson(string_value)["a"]"#;
        assert_eq!(select(expression, &json!(r#"{"a": 1}"#)).unwrap(), json!(1));
        assert_eq!(select(expression, &json!({"a": "x"})).unwrap(), json!("x"));
    }

    #[test]
    fn a_missing_key_is_named() {
        assert!(
            select(r#"parseJson(string_value)["b"]"#, &json!({"a": 1}))
                .unwrap_err()
                .contains("no field \"b\"")
        );
    }

    #[test]
    fn keys_may_hold_quotes_and_steps_may_be_chained() {
        assert_eq!(
            select(
                r#"parseJson(string_value)["a\"b"][1]['c']"#,
                &json!({"a\"b": [0, {"c": 5}]})
            )
            .unwrap(),
            json!(5)
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for expression in [
            "string_value.a",
            "parseJson(string_value).a",
            "parseJson(string_value)[\"a\"",
            "parseJson(string_value)[a]",
        ] {
            assert!(check(expression).is_err(), "{expression} was accepted");
        }
    }
}
