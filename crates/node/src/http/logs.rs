//! `/containerLogs`: a container's log, from its end or its beginning, once or as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use serde::Deserialize;

use super::{Refused, Server};
use crate::kubelet::logs::{self, Selection};
use crate::kubelet::{Known, PodIndex};

/// The query of a log request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    follow: Flag,
    previous: Flag,
    timestamps: Flag,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
    stream: Option<String>,
}

/// `true`, `1` or the bare name.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(!matches!(text.as_str(), "false" | "0")))
    }
}

pub(super) async fn container_logs(
    State(server): State<Arc<Server>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(options): Query<Options>,
) -> Result<Response, Refused> {
    let known = server.pod(&namespace, &pod)?;
    let (number, is_current) = run_of(&known, &pod, &container, options.previous.0)?;
    let log = known.folder.log(&container, number);
    let since = options.since_seconds.and_then(|s| {
        Timestamp::now()
            .checked_sub(SignedDuration::from_secs(s))
            .ok()
    });
    let selection = Selection {
        tail_lines: options.tail_lines,
        since: options.since_time.or(since),
        timestamps: options.timestamps.0,
        limit_bytes: options.limit_bytes,
        stream: options
            .stream
            .filter(|stream| stream != "All")
            .map(|stream| stream.to_lowercase()),
    };
    let read = {
        let (log, selection) = (log.clone(), selection.clone());
        tokio::task::spawn_blocking(move || logs::read(&log, &selection)).await
    };
    let (output, position) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => {
            return Err(Refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("reading the log: {error}"),
            ));
        }
        Err(error) => {
            return Err(Refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            ));
        }
    };
    let body = if options.follow.0 && is_current {
        let left = selection
            .limit_bytes
            .map(|limit| limit.saturating_sub(output.len()));
        let is_running = still_runs(server.pods.clone(), namespace, pod, container, number);
        Body::from_stream(follow(
            Bytes::from(output),
            log,
            position,
            selection,
            left,
            is_running,
        ))
    } else {
        Body::from(output)
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// Which run's log is meant, and whether that run is the container's last one.
fn run_of(
    known: &Known,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<(u32, bool), Refused> {
    let bad = |text: String| Err(Refused(StatusCode::BAD_REQUEST, text));
    let spec = known.pod.spec.as_ref();
    let names = spec.into_iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    if !names.into_iter().any(|other| other.name == container) {
        return bad(format!("container {container} is not valid for pod {pod}"));
    }
    match known.runs.get(container) {
        Some((number, _)) if previous => match number.checked_sub(1) {
            Some(before) if known.folder.log(container, before).exists() => Ok((before, false)),
            _ => bad(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            )),
        },
        Some((number, is_running))
            if *is_running || known.folder.log(container, *number).exists() =>
        {
            Ok((*number, true))
        }
        _ => {
            let status = known.pod.status.as_ref();
            let statuses = status.into_iter().flat_map(|status| {
                status
                    .init_container_statuses
                    .iter()
                    .flatten()
                    .chain(status.container_statuses.iter().flatten())
            });
            let reason = statuses
                .into_iter()
                .find(|status| status.name == container)
                .and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone())
                .unwrap_or_else(|| "ContainerCreating".into());
            bad(format!(
                "container {container:?} in pod {pod:?} is waiting to start: {reason}"
            ))
        }
    }
}

/// Whether more may come: the run has not ended. Its log is there a moment before it counts as running.
pub(super) fn still_runs(
    pods: PodIndex,
    namespace: String,
    pod: String,
    container: String,
    number: u32,
) -> impl Fn() -> bool {
    move || {
        pods.get(&namespace, &pod).is_some_and(|known| {
            known.runs.get(&container).is_some_and(|(now, is_running)| {
                *now == number && (*is_running || has_never_ended(&known.pod, &container))
            })
        })
    }
}

fn has_never_ended(pod: &Pod, container: &str) -> bool {
    let status = pod.status.as_ref();
    let mut statuses = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    statuses
        .find(|status| status.name == container)
        .is_some_and(|status| {
            let is_over = |state: &Option<ContainerState>| {
                state
                    .as_ref()
                    .is_some_and(|state| state.terminated.is_some())
            };
            !is_over(&status.state) && !is_over(&status.last_state)
        })
}

/// Looked at again this soon after something was written, and at most this rarely.
const SOONEST: Duration = Duration::from_millis(10);
const RAREST: Duration = Duration::from_millis(200);

fn follow(
    first: Bytes,
    log: PathBuf,
    mut position: u64,
    selection: Selection,
    mut left: Option<usize>,
    is_running: impl Fn() -> bool + Send + 'static,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    async_stream::try_stream! {
        if !first.is_empty() {
            yield first;
        }
        let mut current: Option<File> = None;
        let mut pause = SOONEST;
        loop {
            // Asked before reading: what was written before the end is then certainly read.
            let ends = !is_running();
            if current.is_none() {
                current = File::open(&log).ok();
            }
            let mut grown = Vec::new();
            if let Some(file) = &mut current {
                let mut content = Vec::new();
                file.seek(SeekFrom::Start(position))?;
                file.read_to_end(&mut content)?;
                let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                position += whole as u64;
                let lines = content[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                grown = lines.filter_map(|line| selection.shown(line)).collect::<Vec<_>>().concat();
                let was_replaced = grown.is_empty()
                    && matches!((file.metadata(), std::fs::metadata(&log)), (Ok(ours), Ok(now)) if ours.ino() != now.ino());
                if was_replaced {
                    current = None;
                    position = 0;
                    continue;
                }
            }
            if !grown.is_empty() {
                if let Some(most) = left {
                    grown.truncate(most);
                    left = Some(most - grown.len());
                }
                pause = SOONEST;
                yield Bytes::from(grown);
                if left == Some(0) {
                    return;
                }
            } else if ends {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RAREST);
        }
    }
}
