//! `kfctl version`.

use anyhow::Result;

use crate::cli::{Output, Version};
use crate::version::{FERROFLOW, KFCTL};

/// Prints both versions.
pub fn run(args: &Version) -> Result<()> {
    match args.output {
        Output::Table => println!("kfctl {KFCTL}\nferroflow {FERROFLOW}"),
        Output::Json => {
            println!(
                "{}",
                serde_json::to_string_pretty(
                    &serde_json::json!({ "kfctl": KFCTL, "ferroflow": FERROFLOW })
                )?
            );
        }
    }
    Ok(())
}
