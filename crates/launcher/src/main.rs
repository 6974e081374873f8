//! `launch --step FILE -- COMMAND…`: runs one pipeline step inside anybody's image. Small, static and without a runtime;
//! what it promises stands in the library beside it. `launch --api URL -- COMMAND…` does the same where artifacts are
//! not on a volume, and `launch --bring URL` only brings them.

use std::path::Path;
use std::process::ExitCode;

use launcher::remote::Remote;
use launcher::{Report, Step, run};

/// The step's own token for the Pipelines API.
const TOKEN: &str = "/var/run/secrets/kubeflow/pipelines/token";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, step, separator, command @ ..] if flag == "--step" && separator == "--" => {
            launch(step, command)
        }
        [flag, url, separator, command @ ..] if flag == "--api" && separator == "--" => {
            launch_remotely(url, command)
        }
        [flag, url] if flag == "--bring" => bring(url),
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
    let published = run::publish(&report, Path::new(&step.report));
    end(
        &report,
        published
            .map_err(|problem| format!("could not write the report {}: {problem}", step.report)),
    )
}

fn launch_remotely(url: &str, command: &[String]) -> ExitCode {
    let told = Remote::new(url, TOKEN).and_then(|remote| Ok((remote.step()?, remote)));
    let (step, remote) = match told {
        Ok(told) => told,
        Err(problem) => {
            eprintln!("launcher: could not read the step from {url}: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut report = match remote.bring(&step) {
        Ok(()) => run::run(&step, command),
        Err(problem) => run::not_run(problem),
    };
    if report.succeeded()
        && let Err(problem) = remote.take(&step)
    {
        report.exit_code = 1;
        report.error = Some(problem);
    }
    let published = remote.publish(&report);
    end(
        &report,
        published.map_err(|problem| format!("could not hand over the report: {problem}")),
    )
}

/// `launch --bring URL`: the inputs of a step whose image starts by its own entry point.
fn bring(url: &str) -> ExitCode {
    let brought = Remote::new(url, TOKEN).and_then(|remote| remote.bring(&remote.step()?));
    match brought {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("launcher: {problem}");
            ExitCode::from(1)
        }
    }
}

fn end(report: &Report, published: Result<(), String>) -> ExitCode {
    if let Some(problem) = &report.error {
        eprintln!("launcher: {problem}");
    }
    let code = exit_byte(report.exit_code);
    match published {
        Ok(()) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("launcher: {problem}");
            ExitCode::from(code.max(1))
        }
    }
}

fn exit_byte(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(255)
}
