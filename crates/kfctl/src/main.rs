//! `kfctl`: a whole Kubeflow in one binary. Parses, dispatches, returns an exit code.

mod cli;
mod cli_cluster;
mod cluster;
mod commands;
mod compile;
mod components;
mod config;
mod control;
mod ending;
mod follow;
mod installation;
mod instance;
mod kfdef_folder;
mod kfp;
mod lifecycle;
mod logging;
mod memory;
mod node_config;
mod platform;
mod progress;
mod readiness;
mod registry_login;
mod run_view;
mod serve;
mod service_unit;
mod text;
mod user_kubeconfig;
mod version;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Holder and shims are this program again; they must run before any thread exists.
    if let Some(code) = node::reexec::dispatch(std::env::args_os()) {
        return code;
    }
    lifecycle::raise_open_files();
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
