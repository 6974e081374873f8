//! `kfctl completion`: completion scripts for every common shell.

use clap::CommandFactory;

use crate::cli::{Cli, Completion};

/// Prints the script.
pub fn run(args: &Completion) {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "kfctl",
        &mut std::io::stdout(),
    );
}
