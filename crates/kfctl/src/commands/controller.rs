//! `kfctl controller …`: a component on its own. On one machine components run inside `kfctl up`.

use anyhow::{Result, bail};

use crate::cli::Controller;

/// Says where the component runs.
pub fn run(controller: Controller) -> Result<()> {
    let name = match controller {
        Controller::Pipelines => "pipelines",
        Controller::Console => "console",
    };
    bail!(
        "this version runs the component {name} only inside `kfctl up`, as the built-in pod that its Deployment makes"
    )
}
