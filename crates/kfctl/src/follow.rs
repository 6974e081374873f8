//! The live tree of a run: each step with its state, duration and last line. On failure the cause and the tail
//! of the failing step's log.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::{AsyncBufReadExt, TryStreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::kfp::{Kfp, Run, Task};
use crate::text;

/// Lines of a failing step's log that are shown.
const TAIL: usize = 20;
/// Pause before a lost stream is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Last line of each step's log, by task.
type LastLines = Arc<Mutex<BTreeMap<String, String>>>;

/// Shows the run until it is final, and answers what became of it.
pub async fn until_finished(kfp: &Kfp, run_id: &str) -> Result<Run> {
    let mut view = View::new();
    let last_lines = LastLines::default();
    let mut followed = BTreeMap::new();
    loop {
        let run = kfp.run(run_id).await?;
        for step in run.steps().filter(|step| step.state == "RUNNING") {
            followed.entry(step.task_id.clone()).or_insert_with(|| {
                tokio::spawn(follow_log(
                    kfp.clone(),
                    run_id.to_owned(),
                    step.task_id.clone(),
                    last_lines.clone(),
                ))
            });
        }
        view.show(&run, &last_lines);
        if run.is_finished() {
            view.end();
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
            last_lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(task_id.clone(), line);
        }
    }
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
        let Ok(log) = kfp.log(&run.run_id, &step.task_id, false).await else {
            continue;
        };
        let lines: Vec<String> = Box::pin(log)
            .lines()
            .try_collect()
            .await
            .unwrap_or_default();
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            println!("  {} {line}", console_term::style("│").dim());
        }
    }
    Ok(())
}

/// On a terminal a bar a task; elsewhere a line for each change of state.
enum View {
    Live {
        list: MultiProgress,
        bars: BTreeMap<String, ProgressBar>,
    },
    Lines {
        said: BTreeMap<String, String>,
    },
}

impl View {
    fn new() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Live {
                list: MultiProgress::new(),
                bars: BTreeMap::new(),
            }
        } else {
            Self::Lines {
                said: BTreeMap::new(),
            }
        }
    }

    fn show(&mut self, run: &Run, last_lines: &LastLines) {
        let last_lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (depth, task) in tree(run) {
            let duration = text::between(&task.start_time, &task.end_time);
            let message = if task.status_metadata.message.is_empty() {
                last_lines.get(&task.task_id).cloned().unwrap_or_default()
            } else {
                task.status_metadata.message.clone()
            };
            match self {
                Self::Live { list, bars } => {
                    let bar = bars.entry(task.task_id.clone()).or_insert_with(|| {
                        let bar = list.add(ProgressBar::new_spinner());
                        bar.set_style(
                            ProgressStyle::with_template("{prefix} {wide_msg}")
                                .expect("the template is ours and valid"),
                        );
                        bar
                    });
                    let name = format!("{}{}", "  ".repeat(depth), task.display_name);
                    bar.set_prefix(format!(
                        "{} {name:<24} {:<10} {duration:>6}",
                        mark(&task.state),
                        task.state.to_lowercase()
                    ));
                    bar.set_message(console_term::style(message).dim().to_string());
                    bar.tick();
                }
                Self::Lines { said } => {
                    let state = format!("{} {}", task.state, task.status_metadata.message);
                    if said.get(&task.task_id) != Some(&state) {
                        println!(
                            "{:<24} {:<10} {duration:>6}  {message}",
                            task.display_name,
                            task.state.to_lowercase()
                        );
                        said.insert(task.task_id.clone(), state);
                    }
                }
            }
        }
    }

    fn end(&mut self) {
        if let Self::Live { bars, .. } = self {
            bars.values().for_each(ProgressBar::finish);
        }
    }
}

/// Every task below the root with its depth, parents before children, in order of start.
fn tree(run: &Run) -> Vec<(usize, &Task)> {
    fn below<'a>(run: &'a Run, parent: &str, depth: usize, into: &mut Vec<(usize, &'a Task)>) {
        let mut children: Vec<&Task> = run
            .tasks
            .iter()
            .filter(|task| task.parent_task_id == parent && task.task_id != parent)
            .collect();
        children.sort_by(|left, right| {
            (&left.start_time, &left.name).cmp(&(&right.start_time, &right.name))
        });
        for child in children {
            into.push((depth, child));
            below(run, &child.task_id, depth + 1, into);
        }
    }
    let root = run
        .tasks
        .iter()
        .find(|task| task.r#type == "ROOT")
        .map_or("", |task| task.task_id.as_str());
    let mut list = Vec::new();
    below(run, root, 0, &mut list);
    list
}

fn mark(state: &str) -> String {
    let mark = match state {
        "SUCCEEDED" => "✓",
        "FAILED" => "✗",
        "CACHED" => "↺",
        "SKIPPED" => "–",
        "RUNNING" => "●",
        _ => "○",
    };
    paint(state, mark)
}

fn paint(state: &str, text: &str) -> String {
    let styled = console_term::style(text);
    match state {
        "SUCCEEDED" => styled.green(),
        "FAILED" => styled.red(),
        "CACHED" => styled.cyan(),
        "RUNNING" => styled.blue(),
        _ => styled.dim(),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, parent: &str, kind: &str, start: &str) -> Task {
        Task {
            task_id: id.into(),
            name: id.into(),
            parent_task_id: parent.into(),
            r#type: kind.into(),
            start_time: start.into(),
            ..Task::default()
        }
    }

    #[test]
    fn the_tree_lists_children_below_their_parent_in_order_of_start() {
        let run = Run {
            tasks: vec![
                task("b", "root", "RUNTIME", "2"),
                task("loop", "root", "LOOP", "1"),
                task("i", "loop", "RUNTIME", "3"),
                task("root", "", "ROOT", "0"),
            ],
            ..Run::default()
        };
        let shown: Vec<(usize, &str)> = tree(&run)
            .into_iter()
            .map(|(depth, task)| (depth, task.task_id.as_str()))
            .collect();
        assert_eq!(shown, [(0, "loop"), (1, "i"), (0, "b")]);
    }
}
