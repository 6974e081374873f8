//! Reads what a finished command left: parameter files, the executor's account, artifact paths.
//! A declared output parameter that is in neither place is an error in words; a missing artifact is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::copy::copy;
use crate::{EXECUTOR_OUTPUT_LIMIT_BYTES, Found, PARAMETER_LIMIT_BYTES, Report, Step};

/// Fills the report of a command that exited with 0.
pub fn collect(step: &Step, report: &mut Report) {
    match executor_output(&step.executor_output) {
        Ok(output) => report.executor_output = output,
        Err(problem) => report.error = Some(problem),
    }
    let in_account = |key: &str| {
        report
            .executor_output
            .as_ref()
            .and_then(|output| {
                output
                    .get("parameterValues")
                    .or_else(|| output.get("parameter_values"))
            })
            .and_then(|values| values.get(key))
            .is_some()
    };
    let mut texts = BTreeMap::new();
    for (key, file) in &step.parameters {
        if in_account(key) {
            continue;
        }
        match read_text(file, PARAMETER_LIMIT_BYTES) {
            Ok(Some(text)) => {
                texts.insert(key.clone(), text);
            }
            Ok(None) => {
                let problem = format!(
                    "output parameter {key:?} is declared, but the step wrote neither {file} nor a value for it in its executor output"
                );
                report.error.get_or_insert(problem);
            }
            Err(problem) => {
                report.error.get_or_insert(format!(
                    "could not read output parameter {key:?}: {problem}"
                ));
            }
        }
    }
    report.parameters = texts;
    let reported = report.executor_output.as_ref();
    let mut problems = Vec::new();
    for (key, path) in &step.artifacts {
        if let Some(custom) = custom_path(reported, key).filter(|custom| custom != path)
            && Path::new(&custom).exists()
            && let Err(problem) = copy(Path::new(&custom), Path::new(path))
        {
            problems.push(format!(
                "could not keep output artifact {key:?} from {custom}: {problem}"
            ));
        }
        if let Some(found) = look_at(Path::new(path)) {
            report.artifacts.insert(key.clone(), found);
        }
    }
    if let Some(problem) = problems.into_iter().next() {
        report.error.get_or_insert(problem);
    }
}

/// The path the executor reports for an artifact that it did not leave where it was told.
pub fn custom_path(executor_output: Option<&Value>, key: &str) -> Option<String> {
    let first = executor_output?
        .get("artifacts")?
        .get(key)?
        .get("artifacts")?
        .get(0)?;
    let path = first
        .get("custom_path")
        .or_else(|| first.get("customPath"))?
        .as_str()?;
    (!path.is_empty()).then(|| path.to_owned())
}

fn executor_output(path: &str) -> Result<Option<Value>, String> {
    match read_text(path, EXECUTOR_OUTPUT_LIMIT_BYTES) {
        Ok(Some(text)) if text.trim().is_empty() => Ok(None),
        Ok(Some(text)) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|problem| format!("the executor output {path} is not JSON: {problem}")),
        Ok(None) => Ok(None),
        Err(problem) => Err(format!("could not read the executor output: {problem}")),
    }
}

fn read_text(path: &str, limit_bytes: u64) -> Result<Option<String>, String> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(format!("{path}: {problem}")),
    };
    let mut content = Vec::new();
    file.take(limit_bytes + 1)
        .read_to_end(&mut content)
        .map_err(|problem| format!("{path}: {problem}"))?;
    if content.len() as u64 > limit_bytes {
        return Err(format!(
            "{path} is larger than {} MiB; write an artifact instead",
            limit_bytes >> 20
        ));
    }
    String::from_utf8(content)
        .map(Some)
        .map_err(|_| format!("{path} is not UTF-8 text"))
}

fn look_at(path: &Path) -> Option<Found> {
    let found = fs::symlink_metadata(path).ok()?;
    Some(Found {
        is_directory: found.is_dir(),
        size_bytes: if found.is_dir() {
            size_below(path)
        } else {
            found.len()
        },
    })
}

fn size_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(folder: &Path) -> Step {
        let place = |name: &str| folder.join(name).display().to_string();
        Step {
            parameters: [("n".to_owned(), place("n"))].into(),
            executor_output: place("executor.json"),
            artifacts: [("model".to_owned(), place("model"))].into(),
            report: place("report.json"),
            directories: vec![],
            ..Step::default()
        }
    }

    #[test]
    fn a_parameter_file_is_reported_as_text() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("n"), "3").unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(report.succeeded());
        assert_eq!(report.parameters["n"], "3");
    }

    #[test]
    fn the_executors_account_stands_in_for_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("executor.json"),
            r#"{"parameterValues":{"n":4}}"#,
        )
        .unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(report.succeeded());
        assert!(report.parameters.is_empty());
        assert_eq!(report.executor_output.unwrap()["parameterValues"]["n"], 4);
    }

    #[test]
    fn a_declared_parameter_in_neither_place_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(
            report
                .error
                .unwrap()
                .contains("output parameter \"n\" is declared")
        );
    }

    #[test]
    fn a_missing_artifact_is_no_error_and_a_folder_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("n"), "3").unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(report.succeeded() && report.artifacts.is_empty());

        fs::create_dir_all(folder.path().join("model/deep")).unwrap();
        fs::write(folder.path().join("model/deep/w"), [0; 5]).unwrap();
        collect(&step(folder.path()), &mut report);
        assert_eq!(
            report.artifacts["model"],
            Found {
                is_directory: true,
                size_bytes: 5
            }
        );
    }

    #[test]
    fn an_artifact_left_elsewhere_is_brought_to_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "weights").unwrap();
        let account = serde_json::json!({"parameterValues": {"n": 1}, "artifacts": {"model": {"artifacts": [{"custom_path": elsewhere}]}}});
        fs::write(folder.path().join("executor.json"), account.to_string()).unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(report.succeeded());
        assert_eq!(
            fs::read_to_string(folder.path().join("model")).unwrap(),
            "weights"
        );
        assert_eq!(report.artifacts["model"].size_bytes, 7);
    }

    #[test]
    fn broken_executor_output_fails_the_step() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("executor.json"), "{").unwrap();
        let mut report = Report::default();
        collect(&step(folder.path()), &mut report);
        assert!(report.error.unwrap().contains("is not JSON"));
    }
}
