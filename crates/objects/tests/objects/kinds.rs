//! Schemas of built-in kinds as the API server makes them, and small objects of these kinds.

use std::sync::LazyLock;

use k8s_openapi::api::{apps, core};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::schemars::generate::SchemaSettings;
use objects::Schema;
use objects::schema::Definitions;
use serde_json::{Value, json};

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
    let mut generator = SchemaSettings::openapi3()
        .with(|settings| settings.transforms.clear())
        .into_generator();
    let _ = generator.subschema_for::<apps::v1::Deployment>();
    let _ = generator.subschema_for::<core::v1::Service>();
    let _ = generator.subschema_for::<apps::v1::ControllerRevision>();
    let _ = generator.subschema_for::<core::v1::ConfigMap>();
    let _ = generator.subschema_for::<CustomResourceDefinition>();
    let mut definitions = generator.take_definitions(false);
    objects::builtin::annotate_all(&mut definitions);
    Definitions::from_openapi(&definitions).unwrap()
});

pub fn schema(definition: &str) -> Schema {
    DEFINITIONS
        .schema(definition)
        .unwrap_or_else(|| panic!("{definition}"))
}

pub fn deployments() -> Schema {
    schema("io.k8s.api.apps.v1.Deployment")
}

pub fn config_maps() -> Schema {
    schema("io.k8s.api.core.v1.ConfigMap")
}

/// A Deployment with two containers.
pub fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "name": "http"}],
                     "env": [{"name": "A", "value": "1"}]},
                    {"name": "side", "image": "side:1"},
                ]},
            },
        },
    })
}

#[test]
fn whole_kinds_are_read_checked_and_pruned() {
    let schema = deployments();
    let mut object = deployment();
    assert_eq!(schema.validate(&object, None), vec![]);
    assert_eq!(schema.unknown_fields(&object), Vec::<String>::new());
    object["spec"]["template"]["spec"]["containers"][1]["imagee"] = json!("typo");
    object["spec"]["replicas"] = json!("three");
    object["metadata"]["creationTimestamp"] = Value::Null;
    assert_eq!(
        schema.unknown_fields(&object),
        ["spec.template.spec.containers[1].imagee"]
    );
    schema.default(&mut object);
    let errors: Vec<String> = schema
        .validate(&object, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        errors,
        [
            r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#
        ]
    );
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"],
        "TCP"
    );
}

#[test]
fn ports_may_be_numbers_or_names_and_quantities_numbers_or_texts() {
    let schema = deployments();
    let mut object = deployment();
    object["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": 2, "memory": "1Gi", "x": 0.5}});
    object["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}});
    assert_eq!(schema.validate(&object, None), vec![]);
    object["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = json!(true);
    assert_eq!(
        schema.validate(&object, None)[0].to_string(),
        "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"boolean\": spec.strategy.rollingUpdate.maxSurge in body \
         must be of type integer,string: \"boolean\""
    );
}

#[test]
fn the_schema_of_custom_resource_definitions_contains_itself() {
    let schema =
        schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a.b.c"},
        "spec": {"group": "b.c", "scope": "Namespaced", "names": {"kind": "A", "plural": "a"}, "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "list": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
                    "any": {"type": "object", "additionalProperties": true, "default": {"a": [1, "x", null]}},
                    "bad": {"type": "string", "odd": 1, "items": [{"type": "string", "odd": 2}]},
                }},
            }}},
        }]},
    });
    assert_eq!(schema.validate(&definition, None), vec![]);
    let base = "spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.bad";
    assert_eq!(
        schema.unknown_fields(&definition),
        [format!("{base}.items[0].odd"), format!("{base}.odd")]
    );
    let mut defaulted = definition.clone();
    schema.default(&mut defaulted);
    assert_eq!(defaulted, definition);
}

#[test]
fn open_parts_keep_everything() {
    let schema = schema("io.k8s.api.apps.v1.ControllerRevision");
    let object = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"}, "revision": 1,
                        "data": {"spec": {"anything": [1, null]}}});
    assert_eq!(schema.validate(&object, None), vec![]);
    assert_eq!(schema.unknown_fields(&object), Vec::<String>::new());
    let mut copy = object.clone();
    schema.default(&mut copy);
    assert_eq!(copy, object);
}
