//! The program that the network tests re-execute: as the holder, and as a pod with a network of its own that does
//! what it is told on standard input. No threads exist before the pod is in its namespaces.

mod failure;
mod pod;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((name, rest)) if name == node::holder::process::SUBCOMMAND => {
            node::holder::process::main(rest)
        }
        Some((name, rest)) if name == "pod" => match pod::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("failed {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("this program is part of the tests of the crate `node`");
            ExitCode::from(2)
        }
    }
}
