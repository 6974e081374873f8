//! `kfctl`: a whole Kubeflow in one binary. Parses, dispatches, returns an exit code.

mod cli;
mod commands;
mod config;
mod control;
mod instance;
mod kfp;
mod memory;
mod platform;
mod progress;
mod readiness;
mod text;
mod version;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Both crypto providers can end up in a tree; ours is named before the first handshake.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed a provider before main");
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!(
                "{} {}",
                console_term::style("error:").red().bold().for_stderr(),
                text::sentence(&error)
            );
            ExitCode::FAILURE
        }
    }
}
