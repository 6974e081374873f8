//! `kfctl logs`: what a run's steps printed, from the live pod or from the kept copy.

use std::io::Write;

use anyhow::{Result, bail};
use futures::{AsyncBufReadExt, TryStreamExt};

use crate::cli::{Global, Logs};
use crate::kfp::{Kfp, Task};
use crate::{platform, text};

/// Prints the log of one step, or of all in order of start.
pub fn run(global: &Global, args: &Logs) -> Result<()> {
    let data = platform::data(global)?;
    platform::block_on(async {
        let kfp = Kfp::new(platform::client(&data).await?);
        let run = kfp.find(&args.run).await?;
        let mut all: Vec<&Task> = run.steps().collect();
        all.sort_by_key(|step| (!text::is_moment(&step.start_time), &step.start_time));
        let steps: Vec<&Task> = match &args.step {
            // What has not begun has nothing to say; with --follow it will.
            None => all
                .iter()
                .copied()
                .filter(|step| args.follow || text::is_moment(&step.start_time))
                .collect(),
            Some(name) => all
                .iter()
                .copied()
                .filter(|task| {
                    task.name == *name || task.display_name == *name || task.task_id == *name
                })
                .collect(),
        };
        if steps.is_empty() {
            let known: Vec<&str> = all.iter().map(|task| task.name.as_str()).collect();
            match &args.step {
                Some(name) => bail!(
                    "run {} has no step {name:?}; it has: {}",
                    run.display_name,
                    known.join(", ")
                ),
                None => bail!("run {} has not started a step yet", run.display_name),
            }
        }
        let several = steps.len() > 1;
        for step in steps {
            let prefix = if several {
                format!("{} ", console_term::style(&step.display_name).cyan())
            } else {
                String::new()
            };
            let mut lines =
                Box::pin(kfp.log(&run.run_id, &step.task_id, args.follow).await?).lines();
            let mut out = std::io::stdout().lock();
            while let Some(line) = lines.try_next().await? {
                writeln!(out, "{prefix}{line}")?;
            }
        }
        Ok(())
    })
}
