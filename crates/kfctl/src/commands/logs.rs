//! `kfctl logs`: what a run's steps printed, from the live pod or from the kept copy. Following waits for steps that have not
//! begun, and prints them in the order in which they do.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{AsyncBufReadExt, TryStreamExt};

use crate::cli::{Global, Logs};
use crate::kfp::{Kfp, Run, Task};
use crate::platform;

/// A watch that broke is opened again after this long.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Prints the log of one step, or of all in order of start.
pub fn run(global: &Global, args: &Logs) -> Result<()> {
    let data = platform::data(global)?;
    platform::block_on(async {
        let kfp = Kfp::new(platform::client(&data).await?);
        let run = kfp.find(&args.run).await?;
        let step = args.step.as_deref();
        if args.follow {
            return follow(&kfp, run, step).await;
        }
        let mut steps = chosen(&run, step)?;
        if steps.is_empty() {
            bail!("run {} has not started a step yet", run.display_name);
        }
        steps.sort_by(|left, right| left.start_time.cmp(&right.start_time));
        for task in &steps {
            print(&kfp, &run, task, steps.len() > 1, false).await?;
        }
        Ok(())
    })
}

/// Prints steps as they begin, each to its end, until all that were asked for have been.
async fn follow(kfp: &Kfp, mut run: Run, step: Option<&str>) -> Result<()> {
    let mut printed = BTreeSet::new();
    loop {
        let steps = chosen(&run, step)?;
        if let Some(next) = next(&steps, &printed) {
            print(kfp, &run, next, steps.len() > 1, true).await?;
            printed.insert(next.task_id.clone());
            run = kfp.run(&run.run_id).await?;
            continue;
        }
        let is_named_step_printed = step.is_some()
            && !steps.is_empty()
            && steps.iter().all(|task| printed.contains(&task.task_id));
        if run.is_finished() || is_named_step_printed {
            return Ok(());
        }
        run = changed(kfp, &run.run_id, step, &printed).await?;
    }
}

/// The run once something more can be printed, or it has ended.
async fn changed(
    kfp: &Kfp,
    run_id: &str,
    step: Option<&str>,
    printed: &BTreeSet<String>,
) -> Result<Run> {
    if let Ok(events) = kfp.watch_run(run_id).await {
        let mut lines = Box::pin(events).lines();
        while let Ok(Some(line)) = lines.try_next().await {
            let event = line.strip_prefix("data:").map(serde_json::from_str::<Run>);
            if let Some(Ok(run)) = event
                && (run.is_finished() || next(&chosen(&run, step)?, printed).is_some())
            {
                return Ok(run);
            }
        }
    }
    tokio::time::sleep(RETRY_AFTER).await;
    kfp.run(run_id).await
}

/// The first step that has begun and was not printed.
fn next<'r>(steps: &[&'r Task], printed: &BTreeSet<String>) -> Option<&'r Task> {
    steps
        .iter()
        .filter(|task| task.state != "PENDING" && !printed.contains(&task.task_id))
        .min_by_key(|task| &task.start_time)
        .copied()
}

/// The steps that were asked for. A run that has just been accepted has none yet.
fn chosen<'r>(run: &'r Run, step: Option<&str>) -> Result<Vec<&'r Task>> {
    let Some(name) = step else {
        return Ok(run.steps().collect());
    };
    let found: Vec<&Task> = run
        .steps()
        .filter(|task| task.name == name || task.display_name == name || task.task_id == name)
        .collect();
    if found.is_empty() && run.steps().next().is_some() {
        let known: Vec<&str> = run.steps().map(|task| task.name.as_str()).collect();
        bail!(
            "run {} has no step {name:?}; it has: {}",
            run.display_name,
            known.join(", ")
        );
    }
    Ok(found)
}

async fn print(
    kfp: &Kfp,
    run: &Run,
    step: &Task,
    is_one_of_several: bool,
    follow: bool,
) -> Result<()> {
    let prefix = if is_one_of_several {
        format!("{} ", console_term::style(&step.display_name).cyan())
    } else {
        String::new()
    };
    let mut lines = Box::pin(kfp.log(&run.run_id, &step.task_id, follow).await?).lines();
    let mut out = std::io::stdout().lock();
    while let Some(line) = lines.try_next().await? {
        writeln!(out, "{prefix}{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(tasks: serde_json::Value) -> Run {
        serde_json::from_value(
            json!({"run_id": "r", "display_name": "demo", "state": "RUNNING", "tasks": tasks}),
        )
        .expect("a run")
    }

    fn step(name: &str, state: &str, start: &str) -> serde_json::Value {
        json!({"task_id": name, "name": name, "display_name": name, "state": state, "type": "RUNTIME", "start_time": start})
    }

    #[test]
    fn steps_are_printed_in_the_order_in_which_they_begin() {
        let run = run(json!([
            step("c", "PENDING", "1970-01-01T00:00:00Z"),
            step("b", "RUNNING", "2026-01-01T00:00:02Z"),
            step("a", "SUCCEEDED", "2026-01-01T00:00:01Z"),
        ]));
        let steps = chosen(&run, None).expect("all");
        let mut printed = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(task) = next(&steps, &printed) {
            order.push(task.name.clone());
            printed.insert(task.task_id.clone());
        }
        assert_eq!(order, ["a", "b"], "c has not begun");
    }

    #[test]
    fn an_unknown_step_is_refused_only_when_the_steps_are_known() {
        assert!(
            chosen(&run(json!([])), Some("a"))
                .expect("may come")
                .is_empty()
        );
        let known = run(json!([step("a", "PENDING", "")]));
        let problem = chosen(&known, Some("z")).expect_err("refused").to_string();
        assert_eq!(problem, "run demo has no step \"z\"; it has: a");
    }
}
