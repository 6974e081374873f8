//! Custom resources: structural schemas in use, with the words of the API server.

use objects::{FieldError, Schema};
use serde_json::{Value, json};

fn spec_schema(spec: Value) -> Schema {
    Schema::custom_resource(&json!({"type": "object", "properties": {"spec": spec}}))
        .unwrap_or_else(|errors| panic!("{}", texts(&errors).join("\n")))
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "a.io/v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec})
}

fn problems(schema: &Schema, spec: Value) -> Vec<String> {
    texts(&schema.validate(&object(spec), None))
}

#[test]
fn every_limit_is_checked_and_named_in_the_servers_words() {
    let cases = [
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "spec.x: Invalid value: 1: spec.x in body should be greater than 1",
        ),
        (
            json!({"type": "number", "maximum": 1.5}),
            json!(2),
            "spec.x: Invalid value: 2: spec.x in body should be less than or equal to 1.5",
        ),
        (
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(5),
            "spec.x: Invalid value: 5: spec.x in body should be less than 5",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "spec.x: Invalid value: 7: spec.x in body should be a multiple of 5",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            "spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            "spec.x: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "spec.x: Invalid value: \"b\": spec.x in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("now"),
            "spec.x: Invalid value: \"now\": spec.x in body must be of type date-time: \"now\"",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 1}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "maxItems": 1}),
            json!([1, 2]),
            "spec.x: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!([1, "a"]),
            "spec.x[1]: Invalid value: \"string\": spec.x[1] in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "a"]),
            "spec.x[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
            json!({}),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"k": 1}),
            "spec.x.k: Invalid value: \"integer\": spec.x.k in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "required": ["y"], "properties": {"y": {"type": "string"}}}),
            json!({}),
            "spec.x.y: Required value",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\"",
        ),
        (
            json!({"type": "boolean"}),
            json!("true"),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type boolean: \"string\"",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "integer", "not": {"enum": [3]}}),
            json!(3),
            "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)",
        ),
        (
            json!({"type": "integer", "oneOf": [{"minimum": 1}, {"minimum": 2}]}),
            json!(3),
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (
            json!({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]}),
            json!(3),
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
        ),
    ];
    for (property, value, expected) in cases {
        let schema = spec_schema(json!({"type": "object", "properties": {"x": property}}));
        let found = problems(&schema, json!({"x": value}));
        assert_eq!(
            found.first().map(String::as_str),
            Some(expected),
            "{property} {value}: {found:?}"
        );
    }
}

#[test]
fn good_values_pass() {
    let schema = spec_schema(json!({"type": "object", "properties": {
        "i": {"type": "integer", "format": "int64", "minimum": 0}, "n": {"type": "number"}, "p": {"x-kubernetes-int-or-string": true},
        "s": {"type": "string", "nullable": true}, "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "o": {"type": "integer", "oneOf": [{"maximum": 1}, {"minimum": 5}]},
    }}));
    let good = json!({"i": 5, "n": 1, "p": "80%", "s": null, "m": {"a": 1}, "o": 9, "undeclared": "is for pruning to say"});
    assert_eq!(problems(&schema, good), Vec::<String>::new());
}

#[test]
fn list_maps_refuse_the_same_key_twice_with_defaults_filled_in() {
    let schema = spec_schema(json!({"type": "object", "properties": {"ports": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": {"type": "object", "required": ["port"], "properties": {
            "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}},
    }}}));
    assert_eq!(
        problems(
            &schema,
            json!({"ports": [{"port": 1}, {"port": 1, "protocol": "UDP"}]})
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        problems(
            &schema,
            json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]})
        ),
        [r#"spec.ports[1]: Duplicate value: map[string]interface {}{"port":1, "protocol":"TCP"}"#]
    );
}

fn ruled(rules: Value) -> Schema {
    spec_schema(
        json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "wanted": {"type": "string"}, "namespace": {"type": "string"}, "name": {"type": "string"}, "until": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"}, "ratio": {"type": "number"}, "max-size": {"type": "integer"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }}),
    )
}

#[test]
fn rules_are_run_and_failures_say_what_the_rule_says() {
    let cases = [
        (
            json!({"rule": "self.min <= self.max"}),
            "spec: Invalid value: \"object\": failed rule: self.min <= self.max",
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "min above max"}),
            "spec: Invalid value: \"object\": min above max",
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "'min is ' + string(self.min)"}),
            "spec: Invalid value: \"object\": min is 5",
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "m", "fieldPath": ".min"}),
            "spec.min: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "m", "reason": "FieldValueForbidden"}),
            "spec: Forbidden: m",
        ),
        (
            json!({"rule": "has(self.wanted)", "message": "m", "reason": "FieldValueRequired", "fieldPath": ".name"}),
            "spec.name: Required value: m",
        ),
        (
            json!({"rule": "self.name.matches('^b')", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.until < timestamp('2020-01-01T00:00:00Z')", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.wait < duration('1m')", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.ratio > 2.5", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.max__dash__size > 9", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.namespace == self.__namespace__ && self.namespace != 'ns'", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "type(self.min) == string", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.labels.all(k, k != 'a-b')", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
    ];
    let spec = json!({"min": 5, "max": 3, "name": "abc", "until": "2026-01-01T00:00:00Z", "wait": "1h", "ratio": 2, "max-size": 3, "labels": {"a-b": "c"}, "namespace": "ns"});
    for (rule, expected) in cases {
        assert_eq!(
            problems(&ruled(json!([rule])), spec.clone()),
            [expected],
            "{rule}"
        );
    }
}

#[test]
fn rules_that_hold_say_nothing_and_rules_that_break_refuse() {
    let holding = json!([
        {"rule": "self.min <= self.max"}, {"rule": "self.until > timestamp('2020-01-01T00:00:00Z')"}, {"rule": "self.ratio < 2.5"},
        {"rule": "self.labels['a-b'] == 'c'"}, {"rule": "isQuantity('1Gi') && 'x'.upperAscii() == 'X'"},
    ]);
    let spec = json!({"min": 1, "max": 3, "until": "2026-01-01T00:00:00Z", "ratio": 2, "labels": {"a-b": "c"}});
    assert_eq!(problems(&ruled(holding), spec), Vec::<String>::new());
    let found = problems(
        &ruled(json!([{"rule": "self.max > 1", "message": "m"}])),
        json!({}),
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("evaluating rule: m"), "{found:?}");
}

#[test]
fn transition_rules_need_an_old_value_unless_they_say_otherwise() {
    let schema = ruled(json!([{"rule": "self.name == oldSelf.name", "message": "immutable"}]));
    let (old, new) = (object(json!({"name": "a"})), object(json!({"name": "b"})));
    assert_eq!(schema.validate(&new, None), vec![]);
    assert_eq!(
        texts(&schema.validate(&new, Some(&old))),
        ["spec: Invalid value: \"object\": immutable"]
    );
    assert_eq!(schema.validate(&old, Some(&old)), vec![]);
    let optional = ruled(json!([{
        "rule": "oldSelf.hasValue() ? oldSelf.value().min <= self.min : self.min == 0", "optionalOldSelf": true, "message": "m",
    }]));
    assert_eq!(
        texts(&optional.validate(&object(json!({"min": 3})), None)),
        ["spec: Invalid value: \"object\": m"]
    );
    assert_eq!(optional.validate(&object(json!({"min": 0})), None), vec![]);
    assert_eq!(
        texts(&optional.validate(&object(json!({"min": 1})), Some(&object(json!({"min": 2}))))),
        ["spec: Invalid value: \"object\": m"]
    );
}

#[test]
fn old_list_items_are_found_by_key_and_never_by_position() {
    let size = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "shrunk"}]});
    let schema = spec_schema(json!({"type": "object", "properties": {"disks": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": size}},
    }}}));
    let old = object(json!({"disks": [{"name": "a", "size": 1}, {"name": "b", "size": 5}]}));
    let swapped = object(json!({"disks": [{"name": "b", "size": 4}, {"name": "a", "size": 1}]}));
    assert_eq!(
        texts(&schema.validate(&swapped, Some(&old))),
        ["spec.disks[0].size: Invalid value: \"integer\": shrunk"]
    );
}

#[test]
fn what_did_not_change_is_not_refused_on_update() {
    let schema = spec_schema(json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 5", "message": "m"}]}, "c": {"type": "string"}}}));
    let old = object(json!({"a": "long", "b": 1, "c": "x"}));
    // Each refusal comes with the remark that rules were not looked at.
    assert_eq!(schema.validate(&old, None).len(), 2);
    assert_eq!(
        schema.validate(&object(json!({"a": "long", "b": 1, "c": "y"})), Some(&old)),
        vec![]
    );
    assert_eq!(
        schema
            .validate(&object(json!({"a": "longer", "b": 1})), Some(&old))
            .len(),
        2
    );
    assert_eq!(
        schema
            .validate(&object(json!({"a": "long", "b": 2})), Some(&old))
            .len(),
        1
    );
}

#[test]
fn a_schema_is_written_as_it_was_read() {
    let document = json!({"type": "object", "description": "d", "properties": {"spec": {
        "type": "object", "required": ["a"], "properties": {
            "a": {"type": "string", "enum": ["x", "y"], "default": "x", "pattern": "^.$", "minLength": 1, "maxLength": 5, "nullable": true},
            "b": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "c": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                  "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}, "x-kubernetes-map-type": "atomic"}},
            "d": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0.5}},
            "e": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
        "x-kubernetes-validations": [{"rule": "self.a != 'z'", "message": "m"}],
    }}});
    assert_eq!(
        Schema::from_openapi(&document).unwrap().to_openapi(),
        document
    );
}
