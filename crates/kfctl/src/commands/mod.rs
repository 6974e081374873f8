//! One command per file; here they are told apart.

mod answers;
mod apply;
mod build;
mod check;
mod completion;
mod config;
mod controller;
mod delete;
mod down;
mod export;
mod image;
mod image_on_cluster;
mod image_transfer;
pub mod launcher;
mod login;
mod logs;
mod run;
mod runs;
mod setup;
mod status;
mod up;
mod upgrade;
mod version;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command, ConfigCommand};

/// Runs the command that was given.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    if !is_a_server(&cli.command) {
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
        Command::Build(args) => build::run(&args)?,
        Command::Apply(args) => apply::run(&global, &args)?,
        Command::Delete(args) => delete::run(&args)?,
        Command::Check(args) => return check::run(&args),
        Command::Export(export) => export::run(&export)?,
        Command::Answers(args) => answers::run(&args)?,
        Command::Controller(controller) => controller::run(&global, controller)?,
        Command::Launcher(command) => launcher::run(&command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks on the terminal; anything but yes is no.
fn ask(question: &str) -> Result<bool> {
    use std::io::Write;
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Whether the command stays to serve others.
fn is_a_server(command: &Command) -> bool {
    match command {
        Command::Up(up) => !up.detach,
        Command::Controller(_) => true,
        _ => false,
    }
}

/// `kfctl … | head` ends like any other command. The server itself must not: it sees broken pipes as errors.
fn end_quietly_on_a_closed_pipe() {
    // SAFETY: no other thread exists yet, and the default action is a valid one.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
