//! `kfctl answers`: whether addresses answer, asked from where this runs. `helm test` runs it inside the cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cli_cluster::Answers;
use crate::platform;

/// Asks each until it answers with success.
pub fn run(args: &Answers) -> Result<()> {
    platform::block_on(async {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .context("prepare to ask")?;
        let started = Instant::now();
        for address in &args.addresses {
            loop {
                let trouble = match client.get(address).send().await {
                    Ok(answer) if answer.status().is_success() => break,
                    Ok(answer) => format!("it answered {}", answer.status()),
                    Err(error) => format!("{:#}", anyhow::Error::new(error)),
                };
                if started.elapsed() > args.timeout {
                    bail!("{address} does not answer: {trouble}");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            println!("{address} answers");
        }
        Ok(())
    })
}
