//! The files a step leaves on the artifact volume: what the launcher is told, what it reports, the kept log.

use std::time::Duration;

use artifacts::{Key, Stores};
use bytes::Bytes;
use futures::{AsyncReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use crate::engine::Outcome;
use crate::engine::step::Step;
use crate::pods::REPORT_TRIES;
use crate::stamped_log::unstamp;

/// Longest log that is kept whole; of a longer one the first part is.
const LOG_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Lines of the log that a failure's message ends with.
const TAIL_LINES: usize = 5;
/// Longest part of a line in a failure's message.
const TAIL_LINE_CHARS: usize = 300;

/// Writes what the launcher is told.
pub async fn write_step(stores: &Stores, step: &Step) -> Result<(), String> {
    let text = serde_json::to_vec(&step.launcher).map_err(|problem| problem.to_string())?;
    let (store, key) = stores
        .resolve(&step.launcher_uri())
        .map_err(|problem| problem.to_string())?;
    store
        .write(&key, Bytes::from(text))
        .await
        .map_err(|problem| {
            format!(
                "waits for the artifact store to take what it is to do: {}",
                objects::chain(&problem)
            )
        })?;
    if let artifacts::Store::Local(local) = store
        && let Ok((_, folder)) = stores.resolve(&step.run_folder)
    {
        open_to_all(&local.path(&folder));
        if let Ok((_, attempt)) = stores.resolve(&step.attempt_folder) {
            open_below(&local.path(&folder), &local.path(&attempt));
        }
    }
    Ok(())
}

/// Steps may run as any user; the run's own folders are theirs to write.
fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Err(problem) = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)) {
        tracing::debug!(folder = %folder.display(), error = %problem, "could not open a run's folder to every user");
    }
}

fn open_below(top: &std::path::Path, folder: &std::path::Path) {
    let mut current = folder.join(".step");
    while current.starts_with(top) && current != top {
        open_to_all(&current);
        if !current.pop() {
            break;
        }
    }
}

/// Reads the launcher's report, if it is there.
pub async fn read_report(stores: &Stores, uri: &str) -> Option<launcher::Report> {
    let (store, key) = stores.resolve(uri).ok()?;
    let mut tries = 0;
    let content = loop {
        match read_whole(store, &key).await {
            Ok(content) => break content,
            Err(artifacts::Error::NotFound(_)) => return None,
            Err(problem) => {
                // A bucket that does not answer says nothing about how the step ended.
                tracing::warn!(
                    error = &problem as &dyn std::error::Error,
                    "could not read the report {uri}"
                );
                tries += 1;
                if tries == REPORT_TRIES || matches!(store, artifacts::Store::Local(_)) {
                    return None;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    };
    serde_json::from_slice(&content).ok()
}

async fn read_whole(store: &artifacts::Store, key: &Key) -> Result<Vec<u8>, artifacts::Error> {
    let chunks = store.read(key).await?;
    let content = chunks.try_fold(Vec::new(), |mut all, chunk| async move {
        all.extend(chunk);
        Ok(all)
    });
    content.await
}

/// The outcome a report stands for. `tail`: last lines of the log.
pub fn from_report(report: launcher::Report, log: Option<String>, tail: &[String]) -> Outcome {
    if report.succeeded() {
        return Outcome::Succeeded {
            report: Box::new(report),
            log,
        };
    }
    let message = failure(report.error.as_deref(), Some(report.exit_code), tail);
    Outcome::Failed {
        exit_code: Some(report.exit_code),
        message,
        log,
    }
}

/// Cause, exit code and last lines in one text.
pub fn failure(cause: Option<&str>, exit_code: Option<i32>, tail: &[String]) -> String {
    let mut message = match (cause, exit_code) {
        (Some(cause), Some(code)) => format!("{cause} (exit code {code})"),
        (Some(cause), None) => cause.to_owned(),
        (None, Some(code)) if code > 128 => {
            format!("ended by signal {} (exit code {code})", code - 128)
        }
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended without a result".to_owned(),
    };
    // The launcher has said its own error in the log as well.
    let tail: Vec<&String> = tail
        .iter()
        .filter(|line| !cause.is_some_and(|cause| line.ends_with(cause)))
        .collect();
    if !tail.is_empty() {
        message.push_str("; last lines:");
        for line in tail {
            message.push_str("\n  ");
            message.extend(line.chars().take(TAIL_LINE_CHARS));
        }
    }
    message
}

/// Keeps a pod's log, each line with its time, under a URI; gives its last lines.
pub async fn keep_log(
    pods: &Api<Pod>,
    pod: &str,
    stores: &Stores,
    uri: &str,
) -> (Option<String>, Vec<String>) {
    let options = LogParams {
        container: Some("main".to_owned()),
        timestamps: true,
        ..LogParams::default()
    };
    let Ok(stream) = pods.log_stream(pod, &options).await else {
        return (None, Vec::new());
    };
    let mut content = Vec::new();
    // A log that breaks off is kept as far as it goes.
    if let Err(problem) = stream
        .take(LOG_LIMIT_BYTES as u64)
        .read_to_end(&mut content)
        .await
    {
        tracing::warn!(pod, error = %problem, "the log of {pod} broke off");
    }
    let tail = last_lines(&content);
    let kept = match stores.resolve(uri) {
        Ok((store, key)) => store.write(&key, content.into()).await,
        Err(problem) => Err(problem),
    };
    match kept {
        Ok(()) => (Some(uri.to_owned()), tail),
        Err(problem) => {
            tracing::warn!(
                pod,
                error = &problem as &dyn std::error::Error,
                "could not keep the log of {pod}"
            );
            (None, tail)
        }
    }
}

fn last_lines(content: &[u8]) -> Vec<String> {
    let end = String::from_utf8_lossy(&content[content.len().saturating_sub(8192)..]).into_owned();
    let lines: Vec<String> = end
        .lines()
        .map(|line| String::from_utf8_lossy(&unstamp(line.as_bytes())).into_owned())
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_cause_exit_code_and_last_lines() {
        let tail = ["Traceback".to_owned(), "ValueError: no".to_owned()];
        assert_eq!(
            failure(None, Some(1), &tail),
            "exited with code 1; last lines:\n  Traceback\n  ValueError: no"
        );
        assert_eq!(
            failure(None, Some(143), &[]),
            "ended by signal 15 (exit code 143)"
        );
        assert_eq!(
            failure(Some("ran out of memory"), Some(137), &[]),
            "ran out of memory (exit code 137)"
        );
        assert_eq!(
            failure(
                Some("the image has no program \"x\""),
                Some(127),
                &["launcher: the image has no program \"x\"".to_owned()]
            ),
            "the image has no program \"x\" (exit code 127)"
        );
        assert_eq!(failure(None, None, &[]), "ended without a result");
    }

    #[test]
    fn the_tail_is_the_last_lines_that_say_something() {
        assert_eq!(
            last_lines(b"1\n2\n\n3\n4\n5\n6\n\n"),
            ["2", "3", "4", "5", "6"]
        );
        assert!(last_lines(b"").is_empty());
    }
}
