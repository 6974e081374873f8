//! Fields that a rule reads and its schema does not have. This is no type checker: what it cannot follow it lets pass, to be
//! found when the rule runs.

use kube_cel::cel::common::ast::{Expr, IdedExpr};
use serde_json::{Map, Value};

use crate::schema::cel::{Rule, escape};

type Schema<'a> = Option<&'a Map<String, Value>>;

/// Names of fields that cannot be there, in the order of their use.
pub(super) fn undefined_fields(
    rule: &Rule,
    schema: &Map<String, Value>,
    is_root: bool,
) -> Vec<String> {
    let mut walk = Walk {
        scope: vec![("self", Some(schema))],
        root: is_root.then_some(schema),
        undefined: Vec::new(),
    };
    if !rule.old_is_optional() {
        walk.scope.push(("oldSelf", Some(schema)));
    }
    walk.expression(rule.expression());
    walk.undefined
}

struct Walk<'a> {
    /// Variables and what is known of their schema, innermost last.
    scope: Vec<(&'a str, Schema<'a>)>,
    /// The root of the whole schema, where every object has metadata.
    root: Schema<'a>,
    undefined: Vec<String>,
}

impl<'a> Walk<'a> {
    /// Goes through an expression; answers with the schema of its value where that is known.
    fn expression(&mut self, expression: &'a IdedExpr) -> Schema<'a> {
        match &expression.expr {
            Expr::Ident(name) => self.scope.iter().rev().find(|(known, _)| known == name)?.1,
            Expr::Select(select) => {
                let operand = self.expression(&select.operand)?;
                self.field(operand, &select.field)
            }
            Expr::Call(call) => {
                let target = call
                    .target
                    .as_ref()
                    .and_then(|target| self.expression(target));
                let arguments: Vec<Schema<'a>> = call
                    .args
                    .iter()
                    .map(|argument| self.expression(argument))
                    .collect();
                match (call.func_name.as_str(), target) {
                    ("_[_]", None) => element(*arguments.first()?),
                    _ => None,
                }
            }
            Expr::List(list) => {
                list.elements.iter().for_each(|item| {
                    self.expression(item);
                });
                None
            }
            Expr::Comprehension(comprehension) => {
                let range = self.expression(&comprehension.iter_range);
                let depth = self.scope.len();
                self.scope
                    .push((&comprehension.iter_var, element_of_list(range)));
                self.scope
                    .extend(comprehension.iter_var2.as_deref().map(|name| (name, None)));
                self.scope.push((&comprehension.accu_var, None));
                for part in [
                    &comprehension.accu_init,
                    &comprehension.loop_cond,
                    &comprehension.loop_step,
                    &comprehension.result,
                ] {
                    self.expression(part);
                }
                self.scope.truncate(depth);
                None
            }
            _ => None,
        }
    }

    fn field(&mut self, schema: &'a Map<String, Value>, name: &str) -> Schema<'a> {
        let flag = |word: &str| schema.get(word).and_then(Value::as_bool) == Some(true);
        let is_object = self.root.is_some_and(|root| std::ptr::eq(root, schema))
            || flag("x-kubernetes-embedded-resource");
        if is_object && matches!(name, "apiVersion" | "kind" | "metadata") {
            return None;
        }
        if let Some(additional) = schema.get("additionalProperties") {
            return additional.as_object();
        }
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return None;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut fields = properties.into_iter().flatten();
        let declared = fields.find(|(declared, _)| *declared == name || escape(declared) == name);
        if declared.is_none() && !flag("x-kubernetes-preserve-unknown-fields") {
            self.undefined.push(name.to_owned());
        }
        declared.and_then(|(_, property)| property.as_object())
    }
}

fn element(schema: Schema<'_>) -> Schema<'_> {
    element_of_list(schema).or_else(|| schema?.get("additionalProperties")?.as_object())
}

fn element_of_list(schema: Schema<'_>) -> Schema<'_> {
    schema?.get("items")?.as_object()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_may_read_what_is_declared_and_nothing_else() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer"}, "b-c": {"type": "object", "properties": {"d": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "integer"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "time": {"type": "string", "format": "date-time"}, "namespace": {"type": "string"},
        }});
        let cases: [(&str, &[&str]); 15] = [
            ("self.a > 1 && self.b__dash__c.d == 'x'", &[]),
            ("has(self.a) || self.metadata.name == 'x'", &[]),
            ("has(self.namespace) || has(self.__namespace__)", &[]),
            ("self.list.all(i, i.x > 1) && self.list[0].x == 1", &[]),
            (
                "self.map.all(k, self.map[k].y > 1) && self.map.anything.y > 1",
                &[],
            ),
            ("self.open.anything.goes", &[]),
            ("self.time.getFullYear() > 2000", &[]),
            ("oldSelf.a == self.a && [self.a].exists(a, a > 1)", &[]),
            ("self.list.map(i, {'k': i.x}).all(m, m.k > 1)", &[]),
            ("self.z", &["z"]),
            ("has(self.b__dash__c.z)", &["z"]),
            ("self.list.exists(i, i.z > 1)", &["z"]),
            ("self.list[0].z + self.map['a'].w", &["z", "w"]),
            ("oldSelf.z == 1 || self.a == 1", &["z"]),
            ("self.a > 1 ? self.p : [self.q]", &["p", "q"]),
        ];
        for (text, expected) in cases {
            let rule = Rule::compile(&json!({"rule": text})).unwrap();
            assert_eq!(
                undefined_fields(&rule, schema.as_object().unwrap(), true),
                expected,
                "{text}"
            );
        }
        let nested = Rule::compile(&json!({"rule": "self.metadata.name != ''"})).unwrap();
        assert_eq!(
            undefined_fields(&nested, schema.as_object().unwrap(), false),
            ["metadata"]
        );
    }
}
