//! `kfctl down`: ends pods in order, then the server, then the node's network.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cli::{Down, Global};
use crate::instance::DataFolder;
use crate::{control, ending, platform, text};

/// How long the server may take beyond the grace period of its pods before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stop that is quicker needs no words.
const QUIET: Duration = Duration::from_secs(1);

/// Stops the platform, and deletes its folder where that is asked for.
pub fn run(global: &Global, args: &Down) -> Result<()> {
    let data = platform::data(global)?;
    if args.delete_data && !args.yes && !confirmed(&data)? {
        bail!("nothing was stopped or deleted");
    }
    match data.living()? {
        Some(record) => {
            platform::block_on(stop(&data))?;
            println!("stopped (process {})", record.pid);
        }
        None => println!("no platform is running on {}", data.path().display()),
    }
    if args.delete_data && data.path().exists() {
        let size = data.size_bytes();
        data.delete()?;
        println!("deleted {} ({})", data.path().display(), text::bytes(size));
    }
    Ok(())
}

async fn stop(data: &DataFolder) -> Result<()> {
    let client = platform::client(data).await?;
    control::Client::new(data.clone()).stop().await?;
    let asked = Instant::now();
    let (mut looked, mut said, mut grace) = (asked, Vec::new(), Duration::ZERO);
    while data.living()?.is_some() {
        if looked.elapsed() > QUIET {
            looked = Instant::now();
            // A server that no longer answers is about to be gone.
            let list = tokio::time::timeout(QUIET, ending::pods(&client)).await;
            if let Ok(Ok(ending)) = list
                && !ending.is_empty()
                && ending != said
            {
                eprintln!("{}", ending::words(&ending));
                grace = grace.max(ending::longest(&ending));
                said = ending;
            }
        }
        if asked.elapsed() > grace + PATIENCE {
            bail!(
                "the platform has not stopped within {} s; its log is {}",
                asked.elapsed().as_secs(),
                data.log().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn confirmed(data: &DataFolder) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "--delete-data deletes every run, artifact and image; say --yes to do it without being asked"
        );
    }
    print!(
        "Delete {} with every run, artifact, image and key in it? [y/N] ",
        data.path().display()
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
