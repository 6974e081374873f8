//! Folders that a step uses without its interface naming them: those the steps of a run share, those of the host, the run's
//! workspace.

use serde_json::{Map, Value};

use crate::ir::{Pipeline, placeholder};

/// Top folders that belong to the system, or to us; everything else in an argument is the user's.
const STANDARD_FOLDERS: [&str; 28] = [
    "app",
    "bin",
    "boot",
    "dev",
    "etc",
    "gcs",
    "home",
    "kfp-launcher",
    "kfp-workspace",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "media",
    "minio",
    "mnt",
    "oci",
    "opt",
    "proc",
    "root",
    "run",
    "s3",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];

/// A folder of the host that a run asked for (`plugins_input."ferroflow.io/mounts"`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Absolute path on the host.
    pub host_path: String,
    /// Absolute path in the pod.
    pub mount_path: String,
    /// Steps may not write it.
    pub is_read_only: bool,
}

/// The first component of every absolute path in the arguments, unless it is a folder of the system.
pub(super) fn shared_paths(args: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for argument in args {
        let path = argument
            .split_once('=')
            .map_or(argument.as_str(), |(_, value)| value);
        let Some(below) = path.strip_prefix('/') else {
            continue;
        };
        let top = below.split('/').next().unwrap_or_default();
        let is_plain = !top.is_empty()
            && top
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
            && !top.starts_with('.');
        let path = format!("/{top}");
        if is_plain && !STANDARD_FOLDERS.contains(&top) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

pub(super) fn mentions_workspace(
    command: &[String],
    args: &[String],
    env: &[(String, String)],
    executor_input: &Value,
    pipeline: &Pipeline,
) -> bool {
    if pipeline
        .platform_config()
        .get("workspace")
        .is_none_or(Value::is_null)
    {
        return false;
    }
    let has =
        |text: &str| text.contains(placeholder::WORKSPACE_PATH) || text.contains("_kfp_workspace");
    command.iter().chain(args).any(|text| has(text))
        || env.iter().any(|(_, text)| has(text))
        || has(&executor_input.to_string())
}

/// Reads `plugins_input."ferroflow.io/mounts"`: `{"mounts": [{"hostPath": "/home/me/data", "mountPath": "/data/raw", "readOnly": true}]}`.
pub fn host_mounts(plugins: &Map<String, Value>) -> Result<Vec<HostMount>, String> {
    let mounts = plugins
        .get("ferroflow.io/mounts")
        .and_then(|plugin| plugin.get("mounts"))
        .and_then(Value::as_array);
    mounts
        .into_iter()
        .flatten()
        .map(|mount| {
            let path = |field: &str| {
                let text = mount.get(field).and_then(Value::as_str).unwrap_or_default();
                let is_clean = text.starts_with('/') && text.len() > 1 && !text.split('/').any(|part| part == "..");
                if is_clean { Ok(text.to_owned()) } else { Err(format!("plugins_input.ferroflow.io/mounts: {field} must be an absolute path, is {text:?}")) }
            };
            Ok(HostMount { host_path: path("hostPath")?, mount_path: path("mountPath")?, is_read_only: mount.get("readOnly").and_then(Value::as_bool).unwrap_or(true) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shared_paths_are_the_top_folders_that_are_not_the_systems() {
        let args = [
            "--input",
            "/data/raw",
            "--out=/models/llm",
            "/usr/share/x",
            "/data/processed",
            "relative/x",
            "/",
            "/tmp/x",
            "--n",
            "3",
        ]
        .map(str::to_owned);
        assert_eq!(shared_paths(&args), ["/data", "/models"]);
    }

    #[test]
    fn host_mounts_must_be_absolute_and_stay_where_they_point() {
        let plugins = |mount: Value| {
            json!({"ferroflow.io/mounts": {"mounts": [mount]}})
                .as_object()
                .unwrap()
                .clone()
        };
        let read = host_mounts(&plugins(
            json!({"hostPath": "/d", "mountPath": "/data/raw"}),
        ))
        .unwrap();
        assert_eq!(
            read,
            [HostMount {
                host_path: "/d".into(),
                mount_path: "/data/raw".into(),
                is_read_only: true
            }]
        );
        for bad in [
            json!({"hostPath": "d", "mountPath": "/x"}),
            json!({"hostPath": "/d/../etc", "mountPath": "/x"}),
            json!({"hostPath": "/d"}),
        ] {
            assert!(host_mounts(&plugins(bad)).is_err());
        }
    }
}
