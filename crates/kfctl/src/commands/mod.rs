//! One command per file; here they are told apart.

mod completion;
mod config;
mod down;
mod logs;
mod runs;
mod status;
mod version;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command, ConfigCommand};

/// Runs the command that was given.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Down(args) => down::run(&global, &args)?,
        Command::Status(args) => return status::run(&global, &args),
        Command::Runs(args) => runs::run(&global, &args)?,
        Command::Logs(args) => logs::run(&global, &args)?,
        Command::Config(ConfigCommand::Show) => config::show(&global)?,
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args)?,
        _ => anyhow::bail!("not wired yet"),
    }
    Ok(ExitCode::SUCCESS)
}
