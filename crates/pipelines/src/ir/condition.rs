//! `triggerPolicy.condition`: CEL over the task's resolved inputs, plus `parseJson`. A result that is not true or false,
//! a missing key, a value that cannot be read as a number: errors, which fail the task.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube_cel::cel::common::ast::{Expr, operators};
use kube_cel::cel::objects::{Key, Map as CelMap};
use kube_cel::cel::parser::{Expression, Parser};
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

/// Complains about an expression that does not compile.
pub fn check(expression: &str) -> Result<(), String> {
    Program::compile(expression)
        .map(|_| ())
        .map_err(|problem| format!("{expression:?} is not a CEL expression: {problem}"))
}

/// Decides a condition.
pub fn holds(expression: &str, parameters: &BTreeMap<String, Value>) -> Result<bool, String> {
    let mut parsed = Parser::default()
        .parse(expression)
        .map_err(|problem| format!("condition {expression:?} does not compile: {problem}"))?;
    compare_by_value(&mut parsed);
    let mut context = Context::default();
    let values = object(
        parameters
            .iter()
            .map(|(name, value)| (name.clone(), to_cel(value))),
    );
    context.add_variable_from_value(
        "inputs",
        object([
            ("parameter_values".to_owned(), values.clone()),
            ("parameterValues".to_owned(), values),
        ]),
    );
    context.add_function("valueEquals", |left: Cel, right: Cel| left == right);
    context.add_function("valueDiffers", |left: Cel, right: Cel| left != right);
    context.add_function("valueLess", |left: Cel, right: Cel| {
        order(&left, &right).map(Ordering::is_lt)
    });
    context.add_function("valueLessEquals", |left: Cel, right: Cel| {
        order(&left, &right).map(Ordering::is_le)
    });
    context.add_function("valueGreater", |left: Cel, right: Cel| {
        order(&left, &right).map(Ordering::is_gt)
    });
    context.add_function("valueGreaterEquals", |left: Cel, right: Cel| {
        order(&left, &right).map(Ordering::is_ge)
    });
    context.add_function("parseJson", parse_json);
    context.add_function("int", to_int);
    context.add_function("double", to_double);
    match context.resolve(&parsed) {
        Ok(Cel::Bool(decided)) => Ok(decided),
        Ok(other) => Err(format!(
            "condition {expression:?} gives {other:?}, not true or false"
        )),
        Err(problem) => Err(format!(
            "condition {expression:?} cannot be decided: {problem}"
        )),
    }
}

/// The interpreter compares numbers of one type only; the servers whose documents we run compare 3 and 3.0 by value.
fn compare_by_value(expression: &mut Expression) {
    match &mut expression.expr {
        Expr::Call(call) => {
            let by_value = match call.func_name.as_str() {
                operators::EQUALS => Some("valueEquals"),
                operators::NOT_EQUALS => Some("valueDiffers"),
                operators::LESS => Some("valueLess"),
                operators::LESS_EQUALS => Some("valueLessEquals"),
                operators::GREATER => Some("valueGreater"),
                operators::GREATER_EQUALS => Some("valueGreaterEquals"),
                _ => None,
            };
            if let Some(name) = by_value {
                name.clone_into(&mut call.func_name);
            }
            call.target
                .iter_mut()
                .for_each(|target| compare_by_value(target));
            call.args.iter_mut().for_each(compare_by_value);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(compare_by_value),
        Expr::Select(select) => compare_by_value(&mut select.operand),
        _ => {}
    }
}

fn order(left: &Cel, right: &Cel) -> Result<Ordering, ExecutionError> {
    left.partial_cmp(right)
        .ok_or_else(|| ExecutionError::ValuesNotComparable(left.clone(), right.clone()))
}

fn parse_json(text: Arc<String>) -> Result<Cel, ExecutionError> {
    serde_json::from_str(&text)
        .map(|value: Value| to_cel(&value))
        .map_err(|problem| ExecutionError::function_error("parseJson", problem))
}

/// The standard conversion, which also reads text with surrounding space and integral doubles written as text.
fn to_int(value: Cel) -> Result<Cel, ExecutionError> {
    let refuse = |what: &dyn std::fmt::Debug| {
        ExecutionError::function_error("int", format!("{what:?} is not an integral number"))
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "guarded by the range check"
    )]
    let from_double = |double: f64| (double.abs() < 9.3e18).then_some(Cel::Int(double as i64));
    match &value {
        Cel::Int(_) => Ok(value),
        Cel::UInt(number) => i64::try_from(*number)
            .map(Cel::Int)
            .map_err(|_| refuse(number)),
        Cel::Float(double) => from_double(*double).ok_or_else(|| refuse(double)),
        Cel::Bool(truth) => Ok(Cel::Int((*truth).into())),
        Cel::String(text) => {
            let text = text.trim();
            let integer = text.parse().ok().map(Cel::Int);
            integer
                .or_else(|| {
                    text.parse()
                        .ok()
                        .filter(|double: &f64| double.fract() == 0.0)
                        .and_then(from_double)
                })
                .ok_or_else(|| refuse(&text))
        }
        other => Err(refuse(other)),
    }
}

fn to_double(value: Cel) -> Result<Cel, ExecutionError> {
    let refuse = |what: &dyn std::fmt::Debug| {
        ExecutionError::function_error("double", format!("{what:?} is not a number"))
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "that is what the conversion means"
    )]
    match &value {
        Cel::Int(number) => Ok(Cel::Float(*number as f64)),
        Cel::UInt(number) => Ok(Cel::Float(*number as f64)),
        Cel::Float(_) => Ok(value),
        Cel::String(text) => text
            .trim()
            .parse()
            .map(Cel::Float)
            .map_err(|_| refuse(text)),
        other => Err(refuse(other)),
    }
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Cel::Int(integer),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value))),
        ),
    }
}

fn object(fields: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    let map: HashMap<Key, Cel> = fields
        .into_iter()
        .map(|(key, value)| (Key::String(Arc::new(key)), value))
        .collect();
    Cel::Map(CelMap { map: Arc::new(map) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decide(expression: &str) -> Result<bool, String> {
        let parameters = serde_json::from_value(json!({
            "pipelinechannel--flip-Output": "heads", "n": 3, "half": 0.5, "yes": true, "text3": "3", "json": "{\"a\": [1, 2]}", "quote": "it's"
        }));
        holds(expression, &parameters.unwrap())
    }

    #[test]
    fn comparisons_of_equal_types_decide() {
        for expression in [
            "inputs.parameter_values['pipelinechannel--flip-Output'] == 'heads'",
            "inputs.parameter_values['pipelinechannel--flip-Output'] != 'tails'",
            "inputs.parameter_values['n'] > 2 && inputs.parameter_values['n'] <= 3",
            "!(inputs.parameter_values['n'] < 3)",
            "inputs.parameter_values['yes'] == true",
            "inputs.parameter_values['quote'] == 'it\\'s'",
            "inputs.parameter_values['half'] < 1",
            "double(inputs.parameter_values['text3']) == inputs.parameter_values['n']",
            "int(inputs.parameter_values['text3']) == 3",
            "parseJson(inputs.parameter_values['json']).a[1] == 2",
        ] {
            assert_eq!(decide(expression), Ok(true), "{expression}");
        }
    }

    #[test]
    fn values_of_different_types_are_unequal() {
        assert_eq!(decide("inputs.parameter_values['n'] == '3'"), Ok(false));
        assert_eq!(decide("inputs.parameter_values['n'] != '3'"), Ok(true));
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        for expression in [
            "inputs.parameter_values['none'] == 1",
            "inputs.parameter_values['n']",
            "int(inputs.parameter_values['quote']) > 1",
        ] {
            assert!(decide(expression).is_err(), "{expression} was decided");
        }
    }
}
