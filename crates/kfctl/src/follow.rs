//! Follows a run until it is final: what changes is shown by `run_view`, and on failure the cause and the tail of the
//! failing step's log. Whoever follows may leave; the run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use futures::{AsyncBufReadExt, TryStreamExt};

use crate::kfp::{Kfp, Run};
use crate::run_view::{LastLines, View, paint};
use crate::text;

/// Lines of a failing step's log that are shown.
const TAIL: usize = 20;
/// Pause before a lost stream is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the kept log of a step that ended may take.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// How following a run ended.
pub enum End {
    /// The run is final.
    Finished(Box<Run>),
    /// The person who followed pressed Ctrl-C.
    Left,
}

/// Shows the run until it is final or Ctrl-C is pressed; says what became of it, or how to come back.
pub async fn until_finished(kfp: &Kfp, run_id: &str) -> Result<End> {
    let left = tokio::select! {
        finished = watch(kfp, run_id) => return finished.map(|run| End::Finished(Box::new(run))),
        left = tokio::signal::ctrl_c() => left,
    };
    left?;
    eprintln!("\nthe run goes on without you:");
    eprintln!("  kfctl runs {run_id} --follow      follow it again");
    eprintln!("  kfctl runs {run_id} --terminate   end it");
    Ok(End::Left)
}

async fn watch(kfp: &Kfp, run_id: &str) -> Result<Run> {
    let mut view = View::new();
    let last_lines = LastLines::default();
    let mut followed = BTreeMap::new();
    let mut read_to_the_end = BTreeSet::new();
    loop {
        let run = kfp.run(run_id).await?;
        for step in run.steps() {
            match step.state.as_str() {
                "RUNNING" => {
                    followed.entry(step.task_id.clone()).or_insert_with(|| {
                        tokio::spawn(follow_log(
                            kfp.clone(),
                            run_id.to_owned(),
                            step.task_id.clone(),
                            last_lines.clone(),
                        ))
                    });
                }
                "SUCCEEDED" | "FAILED" if read_to_the_end.insert(step.task_id.clone()) => {
                    // The stream may have ended before the last line; the kept log has it.
                    if let Some(stream) = followed.remove(&step.task_id) {
                        stream.abort();
                    }
                    let kept = last_line(kfp, run_id, &step.task_id);
                    if let Ok(Some(line)) = tokio::time::timeout(LOG_PATIENCE, kept).await {
                        last_lines.set(&step.task_id, line);
                    }
                }
                _ => {}
            }
        }
        view.show(&run, &last_lines);
        if run.is_finished() {
            followed.into_values().for_each(|task| task.abort());
            conclude(kfp, &run).await?;
            return Ok(run);
        }
        changed(kfp, run_id, &mut view, &run, &last_lines).await;
    }
}

/// Waits for the next event of the run; shows fresh last lines meanwhile.
async fn changed(kfp: &Kfp, run_id: &str, view: &mut View, run: &Run, last_lines: &LastLines) {
    let Ok(events) = kfp.watch_run(run_id).await else {
        tokio::time::sleep(RETRY_AFTER).await;
        return;
    };
    let mut lines = Box::pin(events).lines();
    // The stream begins with the present state; what comes after the first pause is news.
    let mut has_paused = false;
    loop {
        match tokio::time::timeout(Duration::from_millis(150), lines.try_next()).await {
            Ok(Ok(Some(line))) if has_paused && line.starts_with("data:") => return,
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => {
                tokio::time::sleep(RETRY_AFTER).await;
                return;
            }
            Err(_) => {
                // Something may have happened between reading the run and the start of the stream.
                if !has_paused {
                    has_paused = true;
                    if kfp.run(run_id).await.is_ok_and(|now| differs(&now, run)) {
                        return;
                    }
                }
                view.show(run, last_lines);
            }
        }
    }
}

fn differs(now: &Run, before: &Run) -> bool {
    let states = |run: &Run| -> Vec<(String, String, String)> {
        run.tasks
            .iter()
            .map(|task| {
                (
                    task.task_id.clone(),
                    task.state.clone(),
                    task.status_metadata.message.clone(),
                )
            })
            .collect()
    };
    now.state != before.state || states(now) != states(before)
}

async fn follow_log(kfp: Kfp, run_id: String, task_id: String, last_lines: LastLines) {
    let Ok(log) = kfp.log(&run_id, &task_id, true).await else {
        return;
    };
    let mut lines = Box::pin(log).lines();
    while let Ok(Some(line)) = lines.try_next().await {
        if !line.trim().is_empty() {
            last_lines.set(&task_id, line);
        }
    }
}

async fn last_line(kfp: &Kfp, run_id: &str, task_id: &str) -> Option<String> {
    let lines = log_lines(kfp, run_id, task_id).await;
    lines.into_iter().rfind(|line| !line.trim().is_empty())
}

async fn log_lines(kfp: &Kfp, run_id: &str, task_id: &str) -> Vec<String> {
    let Ok(log) = kfp.log(run_id, task_id, false).await else {
        return Vec::new();
    };
    Box::pin(log)
        .lines()
        .try_collect()
        .await
        .unwrap_or_default()
}

async fn conclude(kfp: &Kfp, run: &Run) -> Result<()> {
    let duration = text::between(&run.created_at, &run.finished_at);
    println!(
        "\n{} after {duration}",
        paint(&run.state, &run.state.to_lowercase())
    );
    if run.state == "SUCCEEDED" {
        return Ok(());
    }
    if let Some(error) = &run.error {
        println!("{}", error.message);
    }
    for step in run.steps().filter(|step| step.state == "FAILED") {
        println!(
            "\n{} {}",
            console_term::style("failed step").red().bold(),
            step.display_name
        );
        if !step.status_metadata.message.is_empty() {
            println!("{}", step.status_metadata.message);
        }
        let lines = log_lines(kfp, &run.run_id, &step.task_id).await;
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            println!("  {} {line}", console_term::style("│").dim());
        }
        println!("whole log: kfctl logs {} {}", run.run_id, step.name);
    }
    Ok(())
}
