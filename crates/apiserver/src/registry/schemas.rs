//! Schemas of built-in kinds, made from the published types: as linked definitions for OpenAPI documents, and in one
//! shared arena for defaulting, pruning, validation and patches.

use std::sync::LazyLock;

use objects::schema::{Definitions, Schema};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::builtin::{self, BUILTINS, Builtin};

const REFERENCE: &str = "#/components/schemas/";

/// The schemas of all built-in kinds, read once into one arena.
static BUILTIN: LazyLock<Definitions> = LazyLock::new(|| {
    let mut generator = settings().into_generator();
    for kind in BUILTINS {
        let _ = (kind.schema)(&mut generator);
    }
    for (group, version) in [("", "v1"), ("apps", "v1")] {
        builtin::extra_definitions(group, version, &mut generator);
    }
    let mut definitions = generator.take_definitions(false);
    objects::builtin::annotate_all(&mut definitions);
    Definitions::from_openapi(&definitions)
        .expect("the published types have readable schemas; a test reads them all")
});

/// The schema of one built-in kind.
pub fn compile(kind: &Builtin) -> Schema {
    named(&(kind.definition)()).expect("every built-in kind was put among the definitions above")
}

/// A schema by the name of its definition.
pub fn named(definition: &str) -> Option<Schema> {
    BUILTIN.schema(definition)
}

/// All definitions that the kinds of one group and version need, linked by reference, as OpenAPI v3 has them.
pub fn definitions(group: &str, version: &str) -> Map<String, Value> {
    let mut generator = settings().into_generator();
    for kind in BUILTINS
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        let _ = (kind.schema)(&mut generator);
    }
    builtin::extra_definitions(group, version, &mut generator);
    let mut definitions = generator.take_definitions(false);
    objects::builtin::annotate_all(&mut definitions);
    definitions.insert(
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch".into(),
        json!({"type": "object", "description": "A change of an object in one of the patch formats."}),
    );
    for definition in definitions.values_mut() {
        wrap_references(definition);
    }
    for kind in BUILTINS
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        let name = (kind.definition)();
        if let Some(root) = definitions.get_mut(&name).and_then(Value::as_object_mut) {
            root.insert(
                "x-kubernetes-group-version-kind".into(),
                json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]),
            );
            root.remove("required");
        }
        if kind.stored {
            definitions.insert(
                format!("{name}List"),
                list_definition(&name, kind.group, kind.version, kind.kind),
            );
        }
    }
    definitions
}

/// The definition of a list of `item`.
pub fn list_definition(item: &str, group: &str, version: &str, kind: &str) -> Value {
    json!({
        "description": format!("{kind}List is a list of {kind}"),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION_WORDS},
            "kind": {"type": "string", "description": KIND_WORDS},
            "items": {"type": "array", "description": format!("Items is the list of {kind} objects."), "items": {
                "allOf": [{"$ref": format!("{REFERENCE}{item}")}], "default": {}}},
            "metadata": {"description": "Standard list metadata.", "type": "object", "properties": {
                "continue": {"type": "string"},
                "remainingItemCount": {"type": "integer", "format": "int64"},
                "resourceVersion": {"type": "string"},
                "selfLink": {"type": "string"}}},
        },
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": format!("{kind}List")}],
    })
}

/// What every `apiVersion` field says. The conformance suite looks for the first two words.
pub const API_VERSION_WORDS: &str =
    "APIVersion defines in which version of its schema this object is written, as group/version.";
/// What every `kind` field says.
pub const KIND_WORDS: &str = "The kind of this object, in CamelCase. It cannot be changed.";

fn settings() -> SchemaSettings {
    SchemaSettings::openapi3().with(|settings| {
        settings.meta_schema = None;
        settings.transforms.clear();
    })
}

/// OpenAPI 3.0 ignores what stands beside `$ref`, so a described reference becomes `allOf` with one member.
fn wrap_references(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("$ref").is_some_and(Value::is_string) {
                if fields.len() > 1 {
                    let reference = fields.remove("$ref").expect("seen above");
                    fields.insert("allOf".into(), json!([{"$ref": reference}]));
                }
                return;
            }
            fields.values_mut().for_each(wrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}
