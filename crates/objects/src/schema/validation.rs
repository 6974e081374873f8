//! Checking a value against a schema, in the words of the API server.
//! On update, what did not change is not refused (ratcheting); rules that look at the old value still run.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Number, Value};

use super::node::{Limits, ListType, Type};
use super::{Additional, Arena, Node, NodeId, Schema, cel, formats};
use crate::field::{self, FieldError, FieldErrorKind};

impl Schema {
    /// What is wrong with a value; `old` is what it replaces.
    pub fn validate(&self, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut walk = Walk {
            arena: &self.arena,
            errors: Vec::new(),
        };
        walk.check(self.id, value, old, "");
        if self.node().has_rules {
            let is_duplicate = |error: &FieldError| error.kind == FieldErrorKind::Duplicate;
            if walk
                .errors
                .iter()
                .any(|error| is_fatal_for_rules(error) && !is_duplicate(error))
            {
                walk.errors.push(FieldError::invalid(
                    "<nil>",
                    Value::Null,
                    "some validation rules were not checked because the object was invalid; \
                     correct the existing errors to complete validation",
                ));
            } else if !walk.errors.iter().any(is_duplicate) {
                walk.rules(self.id, value, old, "");
            }
        }
        walk.errors
    }
}

/// Rules see values through their types: with a wrong type or a missing field they would only repeat it in worse words.
fn is_fatal_for_rules(error: &FieldError) -> bool {
    matches!(
        error.kind,
        FieldErrorKind::TypeInvalid
            | FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::Duplicate
            | FieldErrorKind::NotSupported
    )
}

struct Walk<'a> {
    arena: &'a Arena,
    errors: Vec<FieldError>,
}

/// Text of a number as Go prints it with `%v`.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.as_i64().is_none() && float.fract() == 0.0 && float.abs() < 1e21 => {
            format!("{float}")
        }
        _ => number.to_string(),
    }
}

impl Walk<'_> {
    fn check(&mut self, id: NodeId, value: &Value, old: Option<&Value>, path: &str) {
        if old.is_some_and(|old| old == value) {
            return;
        }
        let node = self.arena.node(id);
        if value.is_null() && node.nullable {
            return;
        }
        if !self.check_type(node, value, path) {
            return;
        }
        if let Some(limits) = &node.limits {
            self.limits(limits, value, path);
        }
        match value {
            Value::Object(map) => {
                for name in node.required.iter() {
                    if !map.contains_key(&**name) {
                        self.errors
                            .push(FieldError::required(field::join(path, name), ""));
                    }
                }
                for (name, child) in map {
                    let Some(schema) = node.field(name) else {
                        continue;
                    };
                    let old = old.and_then(|old| old.get(name));
                    self.check(schema, child, old, &field::join(path, name));
                }
            }
            Value::Array(items) => {
                self.uniqueness(node, items, path);
                if let Some(schema) = node.items {
                    let old_items = OldItems::of(self.arena, node, old);
                    for (index, item) in items.iter().enumerate() {
                        self.check(
                            schema,
                            item,
                            old_items.partner(item),
                            &field::index(path, index),
                        );
                    }
                }
            }
            Value::String(text) => {
                if let Some(format) = &node.format
                    && node.kind == Type::String
                    && !formats::accepts(format, text)
                {
                    let detail = format!(
                        "{} must be of type {format}: {}",
                        in_body(path),
                        field::quote(text)
                    );
                    self.errors
                        .push(FieldError::type_invalid(path, text.as_str(), detail));
                }
            }
            Value::Number(number) => {
                if let Some(format) = &node.format
                    && node.kind == Type::Integer
                    && self.arena.checks_integer_formats
                    && !formats::accepts_integer(format, number)
                {
                    let detail = format!(
                        "{} must be of type {format}: {}",
                        in_body(path),
                        number_text(number)
                    );
                    self.errors
                        .push(FieldError::type_invalid(path, value.clone(), detail));
                }
            }
            _ => {}
        }
    }

    /// Whether the value has the type; says so if not.
    fn check_type(&mut self, node: &Node, value: &Value, path: &str) -> bool {
        let found = type_name(value);
        let is_right = if node.int_or_string {
            matches!(found, "integer" | "string")
                || (found == "number" && node.kind == Type::Any && is_quantity(node))
        } else {
            match node.kind {
                Type::Any => true,
                Type::Number => matches!(found, "integer" | "number"),
                wanted => wanted.name() == found,
            }
        };
        if is_right {
            return true;
        }
        let wanted: Cow<'_, str> = match (node.int_or_string, node.kind) {
            (true, _) => "integer,string".into(),
            (false, kind) => kind.name().into(),
        };
        let detail = format!(
            "{} must be of type {wanted}: {}",
            in_body(path),
            field::quote(found)
        );
        self.errors
            .push(FieldError::type_invalid(path, found, detail));
        false
    }

    /// Says each value or key that stands there more than once exactly once.
    fn uniqueness(&mut self, node: &Node, items: &[Value], path: &str) {
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let key = match node.list_type {
                ListType::Atomic => return,
                ListType::Set => Some(item.clone()),
                ListType::Map => list_map_key(self.arena, node, item),
            };
            let Some(key) = key else { continue };
            let count = seen.entry(key.to_string()).or_default();
            *count += 1;
            if *count == 2 {
                self.errors
                    .push(FieldError::duplicate(field::index(path, index), key));
            }
        }
    }

    fn limits(&mut self, limits: &Limits, value: &Value, path: &str) {
        let body = in_body(path);
        if !limits.enumeration.is_empty() && !limits.enumeration.contains(value) {
            let supported: Vec<String> = limits
                .enumeration
                .iter()
                .map(|value| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                })
                .collect();
            self.errors
                .push(FieldError::not_supported(path, value.clone(), &supported));
        }
        match value {
            Value::Number(number) => self.number_limits(limits, number, path),
            Value::String(text) => {
                let chars = text.chars().count() as u64;
                if let Some(min) = limits.min_length.filter(|min| chars < *min) {
                    let detail = format!("{body} should be at least {min} chars long");
                    self.errors
                        .push(FieldError::invalid(path, text.as_str(), detail));
                }
                if let Some(max) = limits.max_length.filter(|max| chars > *max) {
                    self.errors.push(FieldError::too_long(path, max as usize));
                }
                if let Some(pattern) = limits
                    .pattern
                    .as_ref()
                    .filter(|pattern| !pattern.is_match(text))
                {
                    let detail = format!("{body} should match '{}'", pattern.as_str());
                    self.errors
                        .push(FieldError::invalid(path, text.as_str(), detail));
                }
            }
            Value::Array(items) => {
                let count = items.len() as u64;
                if let Some(min) = limits.min_items.filter(|min| count < *min) {
                    let detail = format!("{body} should have at least {min} items");
                    self.errors.push(FieldError::invalid(path, count, detail));
                }
                if let Some(max) = limits.max_items.filter(|max| count > *max) {
                    self.errors
                        .push(FieldError::too_many(path, items.len(), max as usize));
                }
                if limits.unique_items
                    && (1..items.len()).any(|index| items[..index].contains(&items[index]))
                {
                    let detail = format!("{body} shouldn't contain duplicates");
                    self.errors
                        .push(FieldError::invalid(path, value.clone(), detail));
                }
            }
            Value::Object(map) => {
                let count = map.len() as u64;
                if let Some(min) = limits.min_properties.filter(|min| count < *min) {
                    let detail = format!("{body} should have at least {min} properties");
                    self.errors.push(FieldError::invalid(path, count, detail));
                }
                if let Some(max) = limits.max_properties.filter(|max| count > *max) {
                    self.errors
                        .push(FieldError::too_many(path, map.len(), max as usize));
                }
            }
            _ => {}
        }
        self.combinations(limits, value, path);
    }

    fn number_limits(&mut self, limits: &Limits, number: &Number, path: &str) {
        let body = in_body(path);
        let compare = |limit: &Number| -> Option<std::cmp::Ordering> {
            match (number.as_i64(), limit.as_i64()) {
                (Some(number), Some(limit)) => Some(number.cmp(&limit)),
                _ => number.as_f64()?.partial_cmp(&limit.as_f64()?),
            }
        };
        if let Some(min) = &limits.minimum {
            let (is_low, words) = if limits.exclusive_minimum {
                (
                    compare(min).is_none_or(|order| order.is_le()),
                    "should be greater than",
                )
            } else {
                (
                    compare(min).is_none_or(|order| order.is_lt()),
                    "should be greater than or equal to",
                )
            };
            if is_low {
                let detail = format!("{body} {words} {}", number_text(min));
                self.errors
                    .push(FieldError::invalid(path, number.clone(), detail));
            }
        }
        if let Some(max) = &limits.maximum {
            let (is_high, words) = if limits.exclusive_maximum {
                (
                    compare(max).is_none_or(|order| order.is_ge()),
                    "should be less than",
                )
            } else {
                (
                    compare(max).is_none_or(|order| order.is_gt()),
                    "should be less than or equal to",
                )
            };
            if is_high {
                let detail = format!("{body} {words} {}", number_text(max));
                self.errors
                    .push(FieldError::invalid(path, number.clone(), detail));
            }
        }
        if let Some(step) = &limits.multiple_of {
            let is_multiple = match (number.as_i64(), step.as_i64()) {
                (Some(number), Some(step)) if step != 0 => number % step == 0,
                _ => {
                    let quotient =
                        number.as_f64().unwrap_or_default() / step.as_f64().unwrap_or(1.0);
                    (quotient - quotient.round()).abs() < 1e-9
                }
            };
            if !is_multiple {
                let detail = format!("{body} should be a multiple of {}", number_text(step));
                self.errors
                    .push(FieldError::invalid(path, number.clone(), detail));
            }
        }
    }

    /// Failures of combinations name the field only in their text, as upstream's do.
    fn combinations(&mut self, limits: &Limits, value: &Value, path: &str) {
        let accepts = |id: &NodeId| {
            let mut walk = Walk {
                arena: self.arena,
                errors: Vec::new(),
            };
            walk.check(*id, value, None, path);
            walk.errors
        };
        let answers =
            |ids: &[NodeId]| -> Vec<Vec<FieldError>> { ids.iter().map(accepts).collect() };
        let valid =
            |answers: &[Vec<FieldError>]| answers.iter().filter(|errors| errors.is_empty()).count();
        let name = field::quote(path);
        let mut found = Vec::new();
        let mut refuse = |detail: String| found.push(FieldError::invalid("", "", detail));
        let mut reasons = Vec::new();
        let all = answers(&limits.all_of);
        if valid(&all) < all.len() {
            let none = if valid(&all) == 0 {
                ". None validated"
            } else {
                ""
            };
            refuse(format!(
                "{name} must validate all the schemas (allOf){none}"
            ));
            reasons.extend(all.into_iter().flatten());
        }
        let any = answers(&limits.any_of);
        if !any.is_empty() && valid(&any) == 0 {
            refuse(format!("{name} must validate at least one schema (anyOf)"));
            reasons.extend(best(any));
        }
        let one = answers(&limits.one_of);
        match valid(&one) {
            _ if one.is_empty() => {}
            0 => {
                refuse(format!(
                    "{name} must validate one and only one schema (oneOf). Found none valid"
                ));
                reasons.extend(best(one));
            }
            1 => {}
            several => {
                let which = format!("Found {several} valid alternatives");
                refuse(format!(
                    "{name} must validate one and only one schema (oneOf). {which}"
                ));
            }
        }
        if limits.not.as_ref().is_some_and(|id| accepts(id).is_empty()) {
            refuse(format!("{name} must not validate the schema (not)"));
        }
        self.errors.extend(found);
        self.errors.extend(reasons);
    }

    fn rules(&mut self, id: NodeId, value: &Value, old: Option<&Value>, path: &str) {
        let node = self.arena.node(id);
        if !node.has_rules {
            return;
        }
        let is_unchanged = old.is_some_and(|old| old == value);
        if !value.is_null() {
            cel::run(
                self.arena,
                id,
                value,
                old,
                is_unchanged,
                path,
                &mut self.errors,
            );
        }
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    let schema = match node.properties.get(name.as_str()) {
                        Some(schema) => *schema,
                        None => match node.additional {
                            Additional::Schema(schema) => schema,
                            _ => continue,
                        },
                    };
                    self.rules(
                        schema,
                        child,
                        old.and_then(|old| old.get(name)),
                        &field::join(path, name),
                    );
                }
            }
            Value::Array(items) => {
                let Some(schema) = node.items else { return };
                let old_items = OldItems::of(self.arena, node, old);
                for (index, item) in items.iter().enumerate() {
                    self.rules(
                        schema,
                        item,
                        old_items.partner(item),
                        &field::index(path, index),
                    );
                }
            }
            _ => {}
        }
    }
}

/// The answer that came nearest: fewest complaints.
fn best(answers: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    answers.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Finds, for items of a list map, the item they replace.
struct OldItems<'a> {
    arena: &'a Arena,
    node: &'a Node,
    by_key: HashMap<String, &'a Value>,
}

impl<'a> OldItems<'a> {
    fn of(arena: &'a Arena, node: &'a Node, old: Option<&'a Value>) -> Self {
        let mut by_key = HashMap::new();
        if node.list_type == ListType::Map
            && let Some(Value::Array(items)) = old
        {
            for item in items {
                if let Some(key) = list_map_key(arena, node, item) {
                    by_key.insert(key.to_string(), item);
                }
            }
        }
        Self {
            arena,
            node,
            by_key,
        }
    }

    fn partner(&self, item: &Value) -> Option<&'a Value> {
        if self.by_key.is_empty() {
            return None;
        }
        let key = list_map_key(self.arena, self.node, item)?;
        self.by_key.get(&key.to_string()).copied()
    }
}

/// The keys of an item of a list map, defaults filled in; `None` if the item is not a map.
pub(super) fn list_map_key(arena: &Arena, node: &Node, item: &Value) -> Option<Value> {
    let item = item.as_object()?;
    let mut key = serde_json::Map::new();
    for name in node.list_map_keys.iter() {
        let value = item.get(&**name).or_else(|| {
            let schema = arena.node(node.items?).field(name)?;
            arena.node(schema).default.as_ref()
        });
        if let Some(value) = value {
            key.insert(name.to_string(), value.clone());
        }
    }
    Some(Value::Object(key))
}

/// Quantities may be written as JSON numbers; schemas of built-in kinds mark them only by their definition.
fn is_quantity(node: &Node) -> bool {
    node.definition
        .as_deref()
        .is_some_and(|name| name.ends_with(".Quantity"))
}

fn in_body(path: &str) -> String {
    if path.is_empty() {
        " in body".to_owned()
    } else {
        format!("{path} in body")
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) => {
            let is_whole = number.is_i64()
                || number.is_u64()
                || number.as_f64().is_some_and(|float| float.fract() == 0.0);
            if is_whole { "integer" } else { "number" }
        }
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
