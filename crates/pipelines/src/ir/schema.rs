//! The field names and shapes of a PipelineSpec document (schemaVersion 2.1.0), as tables. Walking a document with them
//! finds unknown fields and wrong types with their path, and turns the snake_case spelling that protobuf JSON also
//! allows into the usual one.

use serde_json::{Map, Value};

use super::Error;

/// What a field holds.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Text.
    Text,
    /// A number, or text that holds one.
    Number,
    /// True or false.
    Bool,
    /// Anything.
    Any,
    /// A message with known fields.
    Message(&'static [(&'static str, Shape)]),
    /// A list.
    List(&'static Shape),
    /// A map with free keys.
    Map(&'static Shape),
}

use Shape::{Any, Bool, List, Map as MapOf, Message, Number, Text};

const ARTIFACT_TYPE: Shape = Message(&[
    ("schemaTitle", Text),
    ("schemaUri", Text),
    ("instanceSchema", Text),
    ("schemaVersion", Text),
]);
const PARAMETER: Shape = Message(&[
    ("type", Any),
    ("parameterType", Any),
    ("defaultValue", Any),
    ("isOptional", Bool),
    ("description", Text),
    ("literals", List(&Any)),
]);
const ARTIFACT: Shape = Message(&[
    ("artifactType", ARTIFACT_TYPE),
    ("isArtifactList", Bool),
    ("isOptional", Bool),
    ("description", Text),
    ("properties", MapOf(&Any)),
    ("customProperties", MapOf(&Any)),
    ("metadata", Any),
]);
const DEFINITIONS: Shape = Message(&[
    ("parameters", MapOf(&PARAMETER)),
    ("artifacts", MapOf(&ARTIFACT)),
]);
const RUNTIME_VALUE: Shape = Message(&[
    ("constant", Any),
    ("runtimeParameter", Text),
    ("constantValue", Any),
]);
/// How a task (or a platform field) says where a parameter comes from.
pub const INPUT_PARAMETER: Shape = Message(&[
    ("componentInputParameter", Text),
    ("runtimeValue", RUNTIME_VALUE),
    (
        "taskOutputParameter",
        Message(&[("producerTask", Text), ("outputParameterKey", Text)]),
    ),
    ("taskFinalStatus", Message(&[("producerTask", Text)])),
    ("parameterExpressionSelector", Text),
]);
const INPUT_ARTIFACT: Shape = Message(&[
    ("componentInputArtifact", Text),
    (
        "taskOutputArtifact",
        Message(&[("producerTask", Text), ("outputArtifactKey", Text)]),
    ),
    ("artifactExpressionSelector", Text),
]);
const TASK: Shape = Message(&[
    ("taskInfo", Message(&[("name", Text), ("taskName", Text)])),
    ("componentRef", Message(&[("name", Text)])),
    (
        "inputs",
        Message(&[
            ("parameters", MapOf(&INPUT_PARAMETER)),
            ("artifacts", MapOf(&INPUT_ARTIFACT)),
        ]),
    ),
    ("dependentTasks", List(&Text)),
    (
        "cachingOptions",
        Message(&[("enableCache", Bool), ("cacheKey", Text)]),
    ),
    (
        "triggerPolicy",
        Message(&[("condition", Text), ("strategy", Any)]),
    ),
    (
        "parameterIterator",
        Message(&[
            ("items", Message(&[("raw", Text), ("inputParameter", Text)])),
            ("itemInput", Text),
        ]),
    ),
    (
        "artifactIterator",
        Message(&[
            ("items", Message(&[("inputArtifact", Text)])),
            ("itemInput", Text),
        ]),
    ),
    ("iteratorPolicy", Message(&[("parallelismLimit", Number)])),
    (
        "retryPolicy",
        Message(&[
            ("maxRetryCount", Number),
            ("backoffDuration", Text),
            ("backoffFactor", Number),
            ("backoffMaxDuration", Text),
        ]),
    ),
]);
const PARAMETER_SELECTOR: Shape =
    Message(&[("producerSubtask", Text), ("outputParameterKey", Text)]);
const DAG: Shape = Message(&[
    ("tasks", MapOf(&TASK)),
    (
        "outputs",
        Message(&[
            (
                "parameters",
                MapOf(&Message(&[
                    ("valueFromParameter", PARAMETER_SELECTOR),
                    (
                        "valueFromOneof",
                        Message(&[("parameterSelectors", List(&PARAMETER_SELECTOR))]),
                    ),
                ])),
            ),
            (
                "artifacts",
                MapOf(&Message(&[(
                    "artifactSelectors",
                    List(&Message(&[
                        ("producerSubtask", Text),
                        ("outputArtifactKey", Text),
                    ])),
                )])),
            ),
        ]),
    ),
]);
const COMPONENT: Shape = Message(&[
    ("inputDefinitions", DEFINITIONS),
    ("outputDefinitions", DEFINITIONS),
    ("executorLabel", Text),
    ("dag", DAG),
    ("singlePlatformSpecs", List(&Any)),
    (
        "taskConfigPassthroughs",
        List(&Message(&[("field", Any), ("applyToTask", Bool)])),
    ),
]);
const RESOURCES: Shape = Message(&[
    ("cpuLimit", Number),
    ("memoryLimit", Number),
    ("cpuRequest", Number),
    ("memoryRequest", Number),
    ("resourceCpuLimit", Text),
    ("resourceMemoryLimit", Text),
    ("resourceCpuRequest", Text),
    ("resourceMemoryRequest", Text),
    (
        "accelerator",
        Message(&[
            ("type", Text),
            ("count", Number),
            ("resourceType", Text),
            ("resourceCount", Text),
        ]),
    ),
]);
const CONTAINER: Shape = Message(&[
    ("image", Text),
    ("command", List(&Text)),
    ("args", List(&Text)),
    ("env", List(&Message(&[("name", Text), ("value", Text)]))),
    ("resources", RESOURCES),
    ("lifecycle", Any),
    ("imagePullPolicy", Any),
]);
const IMPORTER: Shape = Message(&[
    ("artifactUri", RUNTIME_VALUE),
    ("typeSchema", ARTIFACT_TYPE),
    ("reimport", Bool),
    ("metadata", Any),
    ("properties", MapOf(&Any)),
    ("customProperties", MapOf(&Any)),
    ("downloadToWorkspace", Bool),
]);
const EXECUTOR: Shape = Message(&[
    ("container", CONTAINER),
    ("importer", IMPORTER),
    ("resolver", Any),
    ("customJob", Any),
]);
/// The first document.
pub const PIPELINE: Shape = Message(&[
    (
        "pipelineInfo",
        Message(&[("name", Text), ("displayName", Text), ("description", Text)]),
    ),
    (
        "deploymentSpec",
        Message(&[("executors", MapOf(&EXECUTOR))]),
    ),
    ("sdkVersion", Text),
    ("schemaVersion", Text),
    ("components", MapOf(&COMPONENT)),
    ("root", COMPONENT),
    ("defaultPipelineRoot", Text),
]);

/// Walks a document: unknown fields and wrong types are errors, alternative spellings become the usual ones.
pub fn conform(value: &mut Value, shape: Shape, path: &str) -> Result<(), Error> {
    let wrong = |wanted: &str, found: &Value| {
        Error::field(path, format!("must be {wanted}, not {}", kind_of(found)))
    };
    match (shape, value) {
        (_, Value::Null)
        | (Any, _)
        | (Text, Value::String(_))
        | (Number, Value::Number(_))
        | (Bool, Value::Bool(_)) => Ok(()),
        (Number, Value::String(text)) if text.parse::<f64>().is_ok() => Ok(()),
        (Text, found) => Err(wrong("text", found)),
        (Number, found) => Err(wrong("a number", found)),
        (Bool, found) => Err(wrong("true or false", found)),
        (List(item), Value::Array(items)) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, entry)| conform(entry, *item, &format!("{path}[{index}]"))),
        (List(_), found) => Err(wrong("a list", found)),
        (MapOf(entry), Value::Object(fields)) => fields
            .iter_mut()
            .try_for_each(|(key, field)| conform(field, *entry, &format!("{path}.{key}"))),
        (Message(known), Value::Object(fields)) => conform_message(fields, known, path),
        (MapOf(_) | Message(_), found) => Err(wrong("a mapping", found)),
    }
}

fn conform_message(
    fields: &mut Map<String, Value>,
    known: &'static [(&'static str, Shape)],
    path: &str,
) -> Result<(), Error> {
    let unusual: Vec<String> = fields
        .keys()
        .filter(|key| key.contains('_'))
        .cloned()
        .collect();
    for key in unusual {
        let usual = camel_case(&key);
        if known.iter().any(|(name, _)| *name == usual) && !fields.contains_key(&usual) {
            let moved = fields.remove(&key).unwrap_or_default();
            fields.insert(usual, moved);
        }
    }
    fields.retain(|_, field| !field.is_null());
    for (key, field) in fields.iter_mut() {
        let below = format!("{path}.{key}");
        let Some((_, shape)) = known.iter().find(|(name, _)| name == key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(Error::field(
                below,
                format!("unknown field; known here: {}", names.join(", ")),
            ));
        };
        conform(field, *shape, &below)?;
    }
    Ok(())
}

/// `dependent_tasks` → `dependentTasks`.
pub fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// A JSON value's type in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaint(mut document: Value) -> String {
        conform(&mut document, PIPELINE, "pipeline_spec")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path_and_the_known_ones() {
        let text = complaint(json!({"root": {"dag": {"tasks": {"a": {"depends": []}}}}}));
        assert!(
            text.starts_with(
                "pipeline_spec.root.dag.tasks.a.depends: unknown field; known here: taskInfo, "
            ),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        assert_eq!(
            complaint(
                json!({"deploymentSpec": {"executors": {"exec-a": {"container": {"args": ["x", 3]}}}}})
            ),
            "pipeline_spec.deploymentSpec.executors.exec-a.container.args[1]: must be text, not a number"
        );
    }

    #[test]
    fn the_snake_case_spelling_becomes_the_usual_one() {
        let mut document = json!({"pipeline_info": {"display_name": "d"}, "root": {"dag": {"tasks": {"my_task": {"dependent_tasks": ["b"]}}}}});
        conform(&mut document, PIPELINE, "pipeline_spec").unwrap();
        assert_eq!(
            document,
            json!({"pipelineInfo": {"displayName": "d"}, "root": {"dag": {"tasks": {"my_task": {"dependentTasks": ["b"]}}}}})
        );
    }
}
