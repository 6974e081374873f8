//! `kfctl config show`: every setting with the value in force.

use anyhow::{Context, Result};

use crate::cli::Global;
use crate::platform;

/// Prints the configuration as YAML.
pub fn show(global: &Global) -> Result<()> {
    let mut config = platform::config(global)?;
    config.data_dir = Some(config.data_dir()?);
    print!(
        "{}",
        serde_saphyr::to_string(&config).context("print the configuration")?
    );
    Ok(())
}
