//! `{{$…}}` in commands, arguments, environment, image and constants, and the structured arguments `Concat` and
//! `IfPresent`. Every occurrence is replaced once; substituted text is never scanned again.

use serde_json::Value;

use super::parameter;

/// What placeholders refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The ExecutorInput as it is handed to the step.
    pub executor_input: &'a Value,
    /// Names of the run and the task.
    pub names: &'a Names,
}

/// Names of the run and the task.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Display name of the run.
    pub job_name: String,
    /// Object name of the run: pipeline name and five random characters.
    pub job_resource_name: String,
    /// Id of the run.
    pub job_id: String,
    /// The task's key.
    pub task_name: String,
    /// The task's id.
    pub task_id: String,
    /// RFC 3339.
    pub create_time: String,
    /// RFC 3339.
    pub schedule_time: String,
    /// Artifact root of the run.
    pub pipeline_root: String,
}

/// Where the per-run workspace volume is mounted.
pub const WORKSPACE_PATH: &str = "/kfp-workspace";

/// Replaces every placeholder in a text.
pub fn resolve(text: &str, scope: Scope<'_>) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{$") {
        let (before, candidate) = rest.split_at(start);
        resolved.push_str(before);
        match candidate
            .find("}}")
            .and_then(|end| Some((lookup(&candidate[2..end], scope)?, end + 2)))
        {
            Some((value, length)) => {
                resolved.push_str(&value);
                rest = &candidate[length..];
            }
            None => {
                resolved.push_str(&candidate[..3]);
                rest = &candidate[3..];
            }
        }
    }
    resolved.push_str(rest);
    resolved
}

/// Replaces placeholders in every text of a value.
pub fn resolve_value(value: &Value, scope: Scope<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(resolve(text, scope)),
        Value::Array(items) => items
            .iter()
            .map(|item| resolve_value(item, scope))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| (key.clone(), resolve_value(field, scope)))
            .collect(),
        other => other.clone(),
    }
}

/// Resolves a command or argument list: structured arguments may become several, or none.
pub fn expand(arguments: &[String], scope: Scope<'_>) -> Vec<String> {
    arguments
        .iter()
        .flat_map(|argument| expand_one(argument, scope))
        .collect()
}

fn expand_one(argument: &str, scope: Scope<'_>) -> Vec<String> {
    let trimmed = argument.trim_start();
    if (trimmed.starts_with("{\"Concat\"") || trimmed.starts_with("{\"IfPresent\""))
        && let Ok(structure) = serde_json::from_str::<Value>(argument)
    {
        return expand_structure(&structure, scope);
    }
    vec![resolve(argument, scope)]
}

fn expand_structure(structure: &Value, scope: Scope<'_>) -> Vec<String> {
    match structure {
        Value::String(text) => expand_one(text, scope),
        Value::Array(items) => items
            .iter()
            .flat_map(|item| expand_structure(item, scope))
            .collect(),
        Value::Object(fields) => {
            if let Some(parts) = fields.get("Concat").and_then(Value::as_array) {
                return vec![
                    parts
                        .iter()
                        .flat_map(|part| expand_structure(part, scope))
                        .collect(),
                ];
            }
            if let Some(choice) = fields.get("IfPresent") {
                let input = choice
                    .get("InputName")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let taken = if is_present(input, scope) {
                    choice.get("Then")
                } else {
                    choice.get("Else")
                };
                return taken
                    .filter(|taken| !taken.is_null())
                    .map(|taken| expand_structure(taken, scope))
                    .unwrap_or_default();
            }
            vec![structure.to_string()]
        }
        Value::Null => vec![],
        other => vec![parameter::text(other)],
    }
}

fn is_present(input: &str, scope: Scope<'_>) -> bool {
    let inputs = &scope.executor_input["inputs"];
    let parameter = inputs
        .get("parameterValues")
        .and_then(|values| values.get(input))
        .is_some_and(|value| !value.is_null());
    let artifact = inputs
        .get("artifacts")
        .and_then(|artifacts| artifacts.get(input))
        .is_some();
    parameter || artifact
}

/// The value of one placeholder (the text between the braces), when it is one.
fn lookup(path: &str, scope: Scope<'_>) -> Option<String> {
    let Scope {
        executor_input,
        names,
    } = scope;
    let named = match path {
        "$" => return Some(executor_input.to_string()),
        "$.outputs.output_file" | "$.outputMetadataUri" | "$.outputs.output_metadata_uri" => {
            return executor_input
                .pointer("/outputs/outputFile")?
                .as_str()
                .map(str::to_owned);
        }
        "$.pipeline_job_name" => &names.job_name,
        "$.pipeline_job_resource_name" => &names.job_resource_name,
        "$.pipeline_job_uuid" => &names.job_id,
        "$.pipeline_task_name" => &names.task_name,
        "$.pipeline_task_uuid" => &names.task_id,
        "$.pipeline_job_create_time_utc" => &names.create_time,
        "$.pipeline_job_schedule_time_utc" => &names.schedule_time,
        "$.pipeline_root" => &names.pipeline_root,
        "$.workspace_path" => return Some(WORKSPACE_PATH.to_owned()),
        other => return lookup_binding(other, executor_input),
    };
    Some(named.clone())
}

fn lookup_binding(path: &str, executor_input: &Value) -> Option<String> {
    for (prefix, side, kind) in [
        ("$.inputs.parameters", "inputs", "parameterValues"),
        ("$.inputs.artifacts", "inputs", "artifacts"),
        ("$.outputs.parameters", "outputs", "parameters"),
        ("$.outputs.artifacts", "outputs", "artifacts"),
    ] {
        let Some(rest) = path.strip_prefix(prefix) else {
            continue;
        };
        let (name, rest) = bracketed(rest)?;
        let found = executor_input
            .get(side)
            .and_then(|bindings| bindings.get(kind))
            .and_then(|bindings| bindings.get(&name));
        return match (kind, rest) {
            // An optional input that was not given leaves nothing behind.
            ("parameterValues", "") => Some(found.map(parameter::text).unwrap_or_default()),
            ("parameters", ".output_file") => found?.get("outputFile")?.as_str().map(str::to_owned),
            ("artifacts", rest) => match found {
                Some(list) => artifact_field(list.get("artifacts")?, rest),
                None => Some(String::new()),
            },
            _ => None,
        };
    }
    None
}

fn artifact_field(list: &Value, field: &str) -> Option<String> {
    let first = list.get(0);
    match field {
        "" => Some(list.to_string()),
        ".uri" => Some(first?.get("uri")?.as_str()?.to_owned()),
        ".path" => Some(local_path(first?)),
        ".name" => Some(first?.get("name")?.as_str()?.to_owned()),
        ".metadata" => Some(
            first?
                .get("metadata")
                .map(Value::to_string)
                .unwrap_or_else(|| "{}".to_owned()),
        ),
        other => {
            let (key, rest) = bracketed(other.strip_prefix(".metadata")?)?;
            rest.is_empty()
                .then(|| first?.get("metadata")?.get(&key).map(parameter::text))
                .flatten()
        }
    }
}

/// Where the executor finds an artifact inside the step.
pub fn local_path(artifact: &Value) -> String {
    let text = |field: &str| {
        artifact
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(custom) = text("customPath") {
        return custom.to_owned();
    }
    let path = artifacts::uri::local_path(text("uri").unwrap_or_default());
    match artifact
        .get("metadata")
        .and_then(|metadata| metadata.get("_kfp_workspace"))
    {
        Some(Value::Bool(true)) => format!(
            "{WORKSPACE_PATH}/.artifacts/{}",
            path.trim_start_matches('/')
        ),
        _ => path,
    }
}

/// `['name']rest` or `["name"]rest`.
fn bracketed(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('[')?;
    let quote = inside
        .chars()
        .next()
        .filter(|letter| matches!(letter, '\'' | '"'))?;
    let (name, rest) = inside[1..].split_once(quote)?;
    Some((name.to_owned(), rest.strip_prefix(']')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input() -> Value {
        json!({
            "inputs": {
                "parameterValues": {"n": 3, "x": 0.5, "who": "{{$.inputs.parameters['n']}}", "flag": true, "list": [1, {"b": 2, "a": 1}]},
                "artifacts": {"d": {"artifacts": [{"name": "1", "uri": "minio://mlpipeline/v2/d", "metadata": {"rows": 10, "tag": "t"}}, {"uri": "s3://b/e"}]}},
            },
            "outputs": {
                "parameters": {"Output": {"outputFile": "/o/Output"}},
                "artifacts": {"m": {"artifacts": [{"uri": "minio://mlpipeline/v2/m", "metadata": {}}]}},
                "outputFile": "/o/executor_output.json",
            },
        })
    }

    fn names() -> Names {
        Names {
            job_name: "my run".into(),
            job_resource_name: "demo-x1y2z".into(),
            job_id: "r1".into(),
            task_name: "train".into(),
            ..Names::default()
        }
    }

    fn resolved(text: &str) -> String {
        resolve(
            text,
            Scope {
                executor_input: &input(),
                names: &names(),
            },
        )
    }

    fn expanded(argument: &Value) -> Vec<String> {
        expand(
            &[argument.to_string()],
            Scope {
                executor_input: &input(),
                names: &names(),
            },
        )
    }

    #[test]
    fn each_placeholder_has_its_value() {
        for (text, expected) in [
            ("{{$.inputs.parameters['n']}}", "3"),
            (
                "--x={{$.inputs.parameters['x']}} {{$.inputs.parameters[\"n\"]}}",
                "--x=0.5 3",
            ),
            ("{{$.inputs.parameters['flag']}}", "true"),
            ("{{$.inputs.parameters['list']}}", r#"[1,{"a":1,"b":2}]"#),
            ("{{$.inputs.parameters['absent']}}|", "|"),
            ("{{$.inputs.artifacts['d'].uri}}", "minio://mlpipeline/v2/d"),
            ("{{$.inputs.artifacts['d'].path}}", "/minio/mlpipeline/v2/d"),
            (
                "{{$.inputs.artifacts['d'].metadata}}",
                r#"{"rows":10,"tag":"t"}"#,
            ),
            ("{{$.inputs.artifacts['d'].metadata['tag']}}", "t"),
            (
                "{{$.outputs.artifacts['m'].path}}",
                "/minio/mlpipeline/v2/m",
            ),
            (
                "{{$.outputs.parameters['Output'].output_file}}",
                "/o/Output",
            ),
            ("{{$.outputs.output_file}}", "/o/executor_output.json"),
            (
                "{{$.pipeline_job_name}}/{{$.pipeline_job_resource_name}}/{{$.pipeline_job_uuid}}/{{$.pipeline_task_name}}",
                "my run/demo-x1y2z/r1/train",
            ),
            ("{{$.workspace_path}}/a", "/kfp-workspace/a"),
        ] {
            assert_eq!(resolved(text), expected, "{text}");
        }
        assert_eq!(resolved("{{$}}"), input().to_string());
    }

    #[test]
    fn substituted_text_is_not_scanned_again() {
        assert_eq!(
            resolved("<{{$.inputs.parameters['who']}}>"),
            "<{{$.inputs.parameters['n']}}>"
        );
    }

    #[test]
    fn what_is_no_placeholder_stays() {
        for text in [
            "{{ x }}",
            "{{$.unknown}}",
            "{{$",
            "${HOME} {{item}}",
            "{{$.inputs.parameters[n]}}",
        ] {
            assert_eq!(resolved(text), text);
        }
    }

    #[test]
    fn concat_becomes_one_argument_and_nests() {
        let argument = json!({"Concat": ["--p=", "{{$.inputs.parameters['n']}}", {"IfPresent": {"InputName": "x", "Then": ",x"}}, {"Concat": ["a", "b"]}]});
        assert_eq!(expanded(&argument), ["--p=3,xab"]);
    }

    #[test]
    fn if_present_expands_drops_or_falls_back() {
        let choice = |input: &str| json!({"IfPresent": {"InputName": input, "Then": ["--x", "{{$.inputs.parameters['n']}}"]}});
        assert_eq!(expanded(&choice("n")), ["--x", "3"]);
        assert_eq!(
            expanded(&choice("d")),
            ["--x", "3"],
            "an artifact counts as present"
        );
        assert!(expanded(&choice("absent")).is_empty());
        assert_eq!(
            expanded(
                &json!({"IfPresent": {"InputName": "absent", "Then": "a", "Else": {"Concat": ["b", "c"]}}})
            ),
            ["bc"]
        );
    }

    #[test]
    fn an_artifact_in_the_workspace_has_its_path_there() {
        assert_eq!(
            local_path(&json!({"uri": "minio://b/x", "metadata": {"_kfp_workspace": true}})),
            "/kfp-workspace/.artifacts/minio/b/x"
        );
    }
}
