//! `kfctl check`: whether a cluster can take the platform, in words with the remedy. A warning is not a failure.

use std::process::ExitCode;

use anyhow::Result;
use install::preflight::{self, Finding, Verdict};

use crate::cli::Output;
use crate::cli_cluster::Check;
use crate::{cluster, platform};

/// Checks; the exit code tells whether it can.
pub fn run(args: &Check) -> Result<ExitCode> {
    let (name, findings) = platform::block_on(async {
        let cluster = args.target.cluster().await?;
        let objects = install::kustomize::render("example", &install::sources::read)?;
        let findings = preflight::check(&cluster.client, &objects)
            .await
            .map_err(|error| cluster::refusal(&cluster, &error))?;
        anyhow::Ok((
            format!("{} ({})", cluster.context, cluster.server()),
            findings,
        ))
    })?;
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
        Output::Table => {
            println!("context  {name}");
            print(&findings, true);
        }
    }
    let failed = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Failure);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One line for each finding and one for its remedy; what is as it should be only where `all` is wanted.
pub fn print(findings: &[Finding], all: bool) {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok if !all => continue,
            Verdict::Ok => console_term::style("ok     ").green(),
            Verdict::Warning => console_term::style("warning").yellow(),
            Verdict::Failure => console_term::style("failure").red(),
        };
        println!("{mark}  {}: {}", finding.check, finding.found);
        if !finding.remedy.is_empty() {
            println!("         {}", finding.remedy);
        }
    }
}
