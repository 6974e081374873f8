//! `kfctl runs`: the newest runs.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cli::{Global, Output, Runs};
use crate::kfp::Kfp;
use crate::{platform, text};

/// Prints the newest runs, newest first.
pub fn run(global: &Global, args: &Runs) -> Result<()> {
    let data = platform::data(global)?;
    let runs = platform::block_on(async {
        Kfp::new(platform::client(&data).await?)
            .runs(args.limit)
            .await
    })?;
    if args.output == Output::Json {
        let rows: Vec<_> = runs
            .iter()
            .map(|run| {
                serde_json::json!({
                    "run_id": run.run_id, "display_name": run.display_name, "state": run.state,
                    "created_at": run.created_at, "finished_at": run.finished_at,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if runs.is_empty() {
        println!("no run yet; start one with: kfctl run FILE.py --follow");
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["RUN", "NAME", "STATE", "DURATION", "AGE"]);
    for run in runs {
        let duration = text::between(&run.created_at, &run.finished_at);
        table.add_row([
            run.run_id,
            run.display_name,
            run.state,
            duration,
            text::since(&run.created_at),
        ]);
    }
    println!("{table}");
    Ok(())
}
