//! `launch --step FILE -- COMMAND…`: runs one pipeline step inside anybody's image. Small, static and without a runtime;
//! what it promises stands in the library beside it.

use std::path::Path;
use std::process::ExitCode;

use launcher::{Step, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, step, separator, command @ ..] if flag == "--step" && separator == "--" => {
            launch(step, command)
        }
        [flag, from, to] if flag == "--fill" => fill(from, to),
        _ => {
            eprintln!("usage: launch --step FILE -- COMMAND [ARGUMENT…]");
            ExitCode::from(2)
        }
    }
}

/// `launch --fill FROM TO`: what the image has at a shared path, before the first step that uses it.
fn fill(from: &str, to: &str) -> ExitCode {
    match launcher::copy::fill(Path::new(from), Path::new(to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!(
                "launcher: could not copy {from} of the image to the run's shared folder: {problem}"
            );
            ExitCode::from(1)
        }
    }
}

fn launch(file: &str, command: &[String]) -> ExitCode {
    let step: Step = match std::fs::read(file)
        .map_err(|problem| problem.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|problem| problem.to_string()))
    {
        Ok(step) => step,
        Err(problem) => {
            eprintln!("launcher: could not read the step {file}: {problem}");
            return ExitCode::from(2);
        }
    };
    let report = run::run(&step, command);
    if let Some(problem) = &report.error {
        eprintln!("launcher: {problem}");
    }
    if let Err(problem) = run::publish(&report, Path::new(&step.report)) {
        eprintln!(
            "launcher: could not write the report {}: {problem}",
            step.report
        );
        return ExitCode::from(if report.exit_code == 0 {
            1
        } else {
            exit_byte(report.exit_code)
        });
    }
    ExitCode::from(exit_byte(report.exit_code))
}

fn exit_byte(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(255)
}
