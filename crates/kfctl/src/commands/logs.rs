//! `kfctl logs`: what a run's steps printed, from the live pod or from the kept copy.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{AsyncBufReadExt, TryStreamExt};

use crate::cli::{Global, Logs};
use crate::kfp::{Kfp, Run, Task};
use crate::{platform, text};

/// Pause before a run is looked at again for a step that has begun.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Prints the log of one step, or of all in order of start; with `--follow` until the run is over.
pub fn run(global: &Global, args: &Logs) -> Result<()> {
    platform::block_on(async {
        let kfp = platform::kfp(global, &args.target).await?;
        let mut run = kfp.find(&args.run).await?;
        check(&run, args)?;
        let mut printed = BTreeSet::new();
        loop {
            let is_over = run.is_finished();
            let next = wanted(&run, args)
                .into_iter()
                .find(|step| text::is_moment(&step.start_time) && !printed.contains(&step.task_id));
            if let Some(step) = next {
                print(&kfp, &run, step, args).await?;
                printed.insert(step.task_id.clone());
            } else if is_over || !args.follow || (args.step.is_some() && !printed.is_empty()) {
                return Ok(());
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
                run = kfp.run(&run.run_id).await?;
            }
        }
    })
}

/// Says what cannot be printed, where it is certain.
fn check(run: &Run, args: &Logs) -> Result<()> {
    let steps = wanted(run, args);
    match &args.step {
        // A step of a loop or a condition is not known before it begins.
        Some(_) if steps.is_empty() && args.follow && !run.is_finished() => Ok(()),
        Some(name) if steps.is_empty() => {
            let all = in_order(run);
            let known: Vec<&str> = all.iter().map(|task| task.name.as_str()).collect();
            bail!(
                "run {} has no step {name:?}; it has: {}",
                run.display_name,
                known.join(", ")
            )
        }
        _ if args.follow || steps.iter().any(|step| text::is_moment(&step.start_time)) => Ok(()),
        Some(name) => bail!(
            "step {name} of run {} has not begun; --follow waits for it",
            run.display_name
        ),
        None => bail!(
            "run {} has not started a step yet; --follow waits for it",
            run.display_name
        ),
    }
}

/// The steps that are asked for, in order of start.
fn wanted<'a>(run: &'a Run, args: &Logs) -> Vec<&'a Task> {
    let is_wanted = |task: &Task| {
        args.step.as_ref().is_none_or(|name| {
            task.name == *name || task.display_name == *name || task.task_id == *name
        })
    };
    let mut steps = in_order(run);
    steps.retain(|step| is_wanted(step));
    steps
}

fn in_order(run: &Run) -> Vec<&Task> {
    let mut steps: Vec<&Task> = run.steps().collect();
    steps.sort_by_key(|step| (!text::is_moment(&step.start_time), &step.start_time));
    steps
}

async fn print(kfp: &Kfp, run: &Run, step: &Task, args: &Logs) -> Result<()> {
    let prefix = if args.step.is_none() && (args.follow || run.steps().count() > 1) {
        format!("{} ", console_term::style(&step.display_name).cyan())
    } else {
        String::new()
    };
    let mut lines = Box::pin(kfp.log(&run.run_id, &step.task_id, args.follow).await?).lines();
    let mut out = std::io::stdout().lock();
    while let Some(line) = lines.try_next().await? {
        writeln!(out, "{prefix}{line}")?;
    }
    Ok(())
}
