//! One command per file; here they are told apart.

mod absent;
mod completion;
mod config;
mod controller;
mod down;
mod image;
pub mod launcher;
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
    if !matches!(&cli.command, Command::Up(up) if !up.detach) {
        end_quietly_on_a_closed_pipe();
    }
    match cli.command {
        Command::Up(args) => up::run(&global, &args)?,
        Command::Down(args) => down::run(&global, &args)?,
        Command::Status(args) => return status::run(&global, &args),
        Command::Runs(args) => return runs::run(&global, &args),
        Command::Logs(args) => logs::run(&global, &args)?,
        Command::Config(ConfigCommand::Show) => config::show(&global)?,
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args)?,
        Command::Run(args) => return run::run(&global, &args),
        Command::Image(command) => image::run(&global, &command)?,
        Command::Login(args) => login::run(&global, &args)?,
        Command::Setup(args) => setup::run(&args)?,
        Command::Build(_) => absent::cluster("build")?,
        Command::Apply(_) => absent::cluster("apply")?,
        Command::Delete(_) => absent::cluster("delete")?,
        Command::Controller(controller) => controller::run(controller)?,
        Command::Launcher(command) => launcher::run(&command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `kfctl … | head` ends like any other command. The server itself must not: it sees broken pipes as errors.
fn end_quietly_on_a_closed_pipe() {
    // SAFETY: no other thread exists yet, and the default action is a valid one.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
