//! `kfctl runs`: the newest runs; or one of them, shown, followed or ended.

use std::process::ExitCode;

use anyhow::{Result, bail};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use crate::cli::{Global, RowsOutput, Runs};
use crate::commands::run::exit_code;
use crate::kfp::{Kfp, Run};
use crate::run_view::{LastLines, View};
use crate::{follow, platform, text};

/// Prints the newest runs, newest first, or what is asked of the one that is named.
pub fn run(global: &Global, args: &Runs) -> Result<ExitCode> {
    platform::block_on(async {
        let kfp = platform::kfp(global, &args.target).await?;
        match &args.run {
            Some(wanted) => one(&kfp, wanted, args).await,
            None if args.follow || args.terminate => {
                bail!("say which run: its id, its name, or `last`; kfctl runs lists them")
            }
            None => list(&kfp.runs(args.limit).await?, args.output),
        }
    })
}

async fn one(kfp: &Kfp, wanted: &str, args: &Runs) -> Result<ExitCode> {
    let run = kfp.find(wanted).await?;
    if args.terminate {
        if run.is_finished() {
            bail!(
                "run {} is over already: {}",
                run.display_name,
                run.state.to_lowercase()
            );
        }
        kfp.terminate(&run.run_id).await?;
        println!(
            "ending {}; kfctl runs {} shows it",
            run.display_name, run.run_id
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.output == RowsOutput::Json {
        println!("{}", serde_json::to_string_pretty(&object(&run))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("run      {}  {}", run.display_name, run.run_id);
    if args.follow {
        return exit_code(follow::until_finished(kfp, &run.run_id).await?);
    }
    println!("state    {}", run.state.to_lowercase());
    if let Some(error) = &run.error {
        println!("cause    {}", error.message);
    }
    View::new().show(&run, &LastLines::default());
    Ok(ExitCode::SUCCESS)
}

fn list(runs: &[Run], output: RowsOutput) -> Result<ExitCode> {
    if output == RowsOutput::Json {
        let rows: Vec<Value> = runs.iter().map(object).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        println!("no run yet; start one with: kfctl run FILE.py --follow");
        return Ok(ExitCode::SUCCESS);
    }
    let is_wide = output == RowsOutput::Wide;
    let mut headings = vec!["RUN", "NAME", "STATE", "DURATION", "AGE"];
    if is_wide {
        headings.extend(["STARTED", "FINISHED", "EXPERIMENT", "CAUSE"]);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings);
    if is_wide {
        // A wide table is for a wide screen or a pager; nothing of it is wrapped.
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    }
    for run in runs {
        let mut row = vec![
            run.run_id.clone(),
            run.display_name.clone(),
            run.state.clone(),
            text::between(&run.created_at, &run.finished_at),
            text::since(&run.created_at),
        ];
        if is_wide {
            let moment = |moment: &String| match text::is_moment(moment) {
                true => moment.clone(),
                false => "-".to_owned(),
            };
            let cause = run.error.as_ref().map(|error| error.message.clone());
            row.extend([
                moment(&run.created_at),
                moment(&run.finished_at),
                run.experiment_id.clone(),
                cause.unwrap_or_default().replace('\n', " "),
            ]);
        }
        table.add_row(row);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// A run as programs read it; its steps where they were asked for.
fn object(run: &Run) -> Value {
    let mut object = json!({
        "run_id": run.run_id, "display_name": run.display_name, "state": run.state,
        "experiment_id": run.experiment_id,
        "created_at": run.created_at, "finished_at": run.finished_at,
        "error": run.error.as_ref().map(|error| &error.message),
    });
    if !run.tasks.is_empty() {
        object["steps"] = run
            .steps()
            .map(|step| {
                json!({
                    "name": step.name, "display_name": step.display_name, "state": step.state,
                    "start_time": step.start_time, "end_time": step.end_time,
                    "message": step.status_metadata.message,
                })
            })
            .collect();
    }
    object
}
