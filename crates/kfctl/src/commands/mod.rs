//! One command per file; here they are told apart.

mod completion;
mod config;
mod controller;
mod down;
mod image;
mod launcher;
mod login;
mod logs;
mod run;
mod runs;
mod setup;
mod status;
mod up;
mod version;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command, ConfigCommand};

/// Runs the command that was given.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => up::run(&global, &args)?,
        Command::Down(args) => down::run(&global, &args)?,
        Command::Status(args) => return status::run(&global, &args),
        Command::Runs(args) => runs::run(&global, &args)?,
        Command::Logs(args) => logs::run(&global, &args)?,
        Command::Config(ConfigCommand::Show) => config::show(&global)?,
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args)?,
        Command::Run(args) => return run::run(&global, &args),
        Command::Image(command) => image::run(&global, &command)?,
        Command::Login(args) => login::run(&global, &args)?,
        Command::Setup(args) => setup::run(&args)?,
        Command::Controller(controller) => controller::run(controller)?,
        Command::Launcher(command) => launcher::run(&command)?,
    }
    Ok(ExitCode::SUCCESS)
}
