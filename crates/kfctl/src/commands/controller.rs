//! `kfctl controller …`: a component on its own, as the installed Deployments call it. On one machine components run
//! inside `kfctl up`.

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::components::standalone::{self, Controller};
use crate::{lifecycle, logging};

/// Runs the component until it is told to stop.
pub fn run(global: &Global, controller: Controller) -> Result<()> {
    logging::to_stderr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        lifecycle::watch_signals(stop.clone()).context("listen for signals")?;
        standalone::run(global, controller, stop).await
    })
}
