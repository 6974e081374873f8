//! The launcher as the pod starts it: a step file, a command, a report, an exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use launcher::{Report, Step};

struct Pod {
    folder: tempfile::TempDir,
}

impl Pod {
    fn new() -> Self {
        let pod = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let step = Step {
            directories: vec![pod.place("artifacts")],
            parameters: [("Output".to_owned(), pod.place("outputs/Output"))].into(),
            executor_output: pod.place("outputs/executor.json"),
            artifacts: [("model".to_owned(), pod.place("artifacts/run/model"))].into(),
            report: pod.place("result/report.json"),
            ..Step::default()
        };
        fs::write(pod.place("step.json"), serde_json::to_vec(&step).unwrap()).unwrap();
        pod
    }

    fn place(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launcher"));
        command
            .args(["--step", &self.place("step.json"), "--", "sh", "-c", script])
            .current_dir(self.folder.path());
        command
    }

    fn report(&self) -> Report {
        serde_json::from_slice(&fs::read(self.place("result/report.json")).unwrap()).unwrap()
    }
}

#[test]
fn a_successful_command_reports_its_outputs_and_streams_its_own() {
    let pod = Pod::new();
    let output = pod
        .command(
            "echo hello; echo oops >&2; printf 8 > outputs/Output; echo w > artifacts/run/model",
        )
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (b"hello\n".as_slice(), b"oops\n".as_slice())
    );
    let report = pod.report();
    assert_eq!(report.parameters["Output"], "8");
    assert_eq!(report.artifacts["model"].size_bytes, 2);
    assert!(report.finished_at >= report.started_at);
    assert!(!Path::new(&pod.place("result/report.tmp")).exists());
}

#[test]
fn the_exit_code_of_the_command_is_passed_through() {
    let pod = Pod::new();
    assert_eq!(pod.command("exit 42").status().unwrap().code(), Some(42));
    assert_eq!(pod.report().exit_code, 42);
}

#[test]
fn a_missing_output_parameter_fails_a_command_that_exited_with_zero() {
    let pod = Pod::new();
    let output = pod.command("true").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("output parameter \"Output\" is declared")
    );
    assert!(!pod.report().succeeded());
}

#[test]
fn a_program_that_is_not_in_the_image_is_named() {
    let pod = Pod::new();
    let status = Command::new(env!("CARGO_BIN_EXE_launcher"))
        .args(["--step", &pod.place("step.json"), "--", "no-such-program"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(127));
    assert_eq!(
        pod.report().error.unwrap(),
        "the image has no program \"no-such-program\""
    );
}

#[test]
fn a_signal_reaches_the_whole_group_of_the_command() {
    let pod = Pod::new();
    let mut launcher = pod.command("trap 'echo got >> seen; exit 7' TERM; (trap 'echo got >> seen' TERM; echo ready > ready; sleep 60 & wait; sleep 60 & wait) & wait; wait").spawn().unwrap();
    while !Path::new(&pod.place("ready")).exists() {
        std::thread::yield_now();
    }
    // SAFETY: signals a process that this test started and has not reaped.
    unsafe { libc::kill(launcher.id().cast_signed(), libc::SIGTERM) };
    assert_eq!(launcher.wait().unwrap().code(), Some(7));
    assert_eq!(pod.report().exit_code, 7);
}
