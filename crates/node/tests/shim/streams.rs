//! What containers and second processes print and read.

use std::time::Duration;

use node::shim::ExecSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::owner::pod_test;
use crate::pod::{TestPod, wait_until, within};

pod_test! {
    async fn output_is_logged_in_the_format_of_cri() {
        let pod = TestPod::start().await;
        let script = "echo out; echo err >&2; printf 'no end'";
        let spec = pod.container("main", ["/bin/sh", "-c", script]);
        let path = spec.log.path.clone();
        pod.run(spec).await;
        let text = std::fs::read_to_string(path).expect("a log");
        for line in text.lines() {
            let (time, _) = line.split_once(' ').expect("a time");
            time.parse::<jiff::Timestamp>().expect("RFC 3339");
        }
        let mut rest: Vec<&str> = text.lines().map(|line| line.split_once(' ').expect("a time").1).collect();
        rest.sort_unstable();
        assert_eq!(rest, ["stderr F err", "stdout F out", "stdout P no end"]);
    }
}

pod_test! {
    async fn the_whole_log_is_there_when_the_end_is_told() {
        let pod = TestPod::start().await;
        let (_, log) = pod.run(pod.container("main", ["/bin/sh", "-c", "seq 1 20000"])).await;
        assert_eq!(log.lines().count(), 20_000);
        assert!(log.ends_with("20000\n"));
    }
}

pod_test! {
    async fn a_log_is_rotated_while_its_container_runs() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "for i in $(seq 1 60); do seq 1 200; sleep 0.01; done"]);
        spec.log.max_bytes = 64 << 10;
        spec.log.max_files = 3;
        let path = spec.log.path.clone();
        pod.run(spec).await;
        let names: Vec<String> = std::fs::read_dir(path.parent().expect("a folder"))
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(std::fs::metadata(&path).expect("a log").len() <= 64 << 10);
    }
}

pod_test! {
    async fn stdout_can_be_opened_again_by_its_path() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "echo again > /dev/stdout; echo fault > /dev/stderr"]);
        spec.user = node::shim::User::Ids { uid: 1000, gid: Some(1000), groups: Vec::new() };
        let (record, mut log) = pod.run(spec).await;
        assert_eq!(record.exit_code, Some(0), "{log}");
        log = log.lines().map(|line| format!("{line};")).collect();
        assert!(log.contains("again;") && log.contains("fault;"), "{log}");
    }
}

pod_test! {
    async fn exec_runs_a_second_process_in_the_containers_world() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sleep", "600"]);
        spec.env = vec![("GREETING".to_owned(), "hello".to_owned())];
        spec.cwd = Some("/work/deep".into());
        pod.pod.start_container(spec).await.expect("starts");
        let (code, out) = pod.exec("main", ["/bin/sh", "-c", "pwd; echo $GREETING; hostname; cat /proc/1/comm; exit 3"]).await;
        assert_eq!((code, out.as_str()), (3, "/work/deep\nhello\npod-host\ninit\n"));
        let (code, out) = pod.exec("main", ["/bin/sh", "-c", "echo out; echo err >&2; kill -KILL $$"]).await;
        assert_eq!((code, out.as_str()), (137, "out\nerr\n"));
        let missing = pod.pod.exec(ExecSpec::new("main", ["no-such-program"])).await.expect_err("refused").to_string();
        assert!(missing.contains("no-such-program"), "{missing}");
        let nowhere = pod.pod.exec(ExecSpec::new("other", ["true"])).await.expect_err("refused").to_string();
        assert!(nowhere.contains("other"), "{nowhere}");
    }
}

pod_test! {
    async fn exec_passes_stdin_on_and_its_end() {
        let pod = TestPod::start().await;
        pod.pod.start_container(pod.container("main", ["/bin/sleep", "600"])).await.expect("starts");
        let mut exec = pod.pod.exec(ExecSpec { stdin: true, ..ExecSpec::new("main", ["/bin/cat"]) }).await.expect("exec");
        let mut stdin = exec.stdin.take().expect("stdin");
        let sent: Vec<u8> = (0..300_000u32).map(|index| (index % 251) as u8).collect();
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            stdin.write_all(&copy).await.expect("written");
            drop(stdin);
        });
        let mut received = Vec::new();
        within(exec.stdout.take().expect("stdout").read_to_end(&mut received)).await.expect("read");
        writing.await.expect("written");
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        assert_eq!(within(exec.exit.wait()).await.expect("ends"), 0);
    }
}

pod_test! {
    async fn exec_with_a_terminal_has_a_size_that_can_change() {
        let pod = TestPod::start().await;
        pod.pod.start_container(pod.with_program(pod.container("main", ["/bin/sleep", "600"]))).await.expect("starts");
        let spec = ExecSpec { tty: true, stdin: true, ..ExecSpec::new("main", ["/bin/sh"]) };
        let mut exec = pod.pod.exec(spec).await.expect("exec");
        let mut stdin = exec.stdin.take().expect("stdin");
        let mut stdout = exec.stdout.take().expect("stdout");
        stdin.resize(123, 45).expect("resized");
        stdin.write_all(b"/program terminal-size; tty; test -t 2 && echo error-is-terminal; /program push-terminal-input; exit 5\n").await.expect("written");
        let mut seen = String::new();
        within(stdout.read_to_string(&mut seen)).await.expect("read");
        assert!(seen.contains("terminal: 0 123 columns 45 rows"), "{seen}");
        assert!(seen.contains("/dev/pts/") && seen.contains("error-is-terminal"), "{seen}");
        assert!(seen.contains("tiocsti: Operation not permitted"), "{seen}");
        assert_eq!(within(exec.exit.wait()).await.expect("ends"), 5);
    }
}

pod_test! {
    async fn an_exec_whose_caller_leaves_is_killed_if_that_was_asked() {
        let pod = TestPod::start().await;
        pod.pod.start_container(pod.container("main", ["/bin/sleep", "600"])).await.expect("starts");
        let exec = pod.pod.exec(ExecSpec::new("main", ["/bin/sleep", "601"])).await.expect("exec");
        let pid = exec.pid.expect("a pid");
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(exec);
        wait_until(|| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

pod_test! {
    async fn attach_joins_output_and_stdin_of_a_running_container() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "while read line; do echo got $line; echo fault >&2; done; echo end"]);
        spec.stdin = true;
        spec.stdin_once = true;
        pod.pod.start_container(spec).await.expect("starts");
        let mut attached = pod.pod.attach("main", true, true, true).await.expect("attached");
        let mut stdin = attached.stdin.take().expect("stdin");
        stdin.write_all(b"one\n").await.expect("written");
        let mut buffer = [0; 8];
        within(attached.stdout.as_mut().expect("stdout").read_exact(&mut buffer)).await.expect("read");
        assert_eq!(&buffer, b"got one\n");
        let mut fault = [0; 6];
        within(attached.stderr.as_mut().expect("stderr").read_exact(&mut fault)).await.expect("read");
        assert_eq!(&fault, b"fault\n");
        let mut stdout = attached.stdout.take().expect("stdout");
        // With `stdinOnce` the container's stdin ends with its first client.
        drop((stdin, attached));
        let mut rest = String::new();
        within(stdout.read_to_string(&mut rest)).await.expect("read");
        assert_eq!(rest, "end\n");
        assert_eq!(within(pod.pod.wait("main")).await.expect("ends").exit_code, Some(0));
    }
}

pod_test! {
    async fn a_container_with_a_terminal_is_logged_and_can_be_attached() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "tty; echo $TERM; read line; echo got $line"]);
        (spec.tty, spec.stdin) = (true, true);
        let log = spec.log.path.clone();
        pod.pod.start_container(spec).await.expect("starts");
        wait_until(|| crate::pod::messages(&log).contains("xterm"));
        let mut attached = pod.pod.attach("main", true, true, false).await.expect("attached");
        assert!(attached.tty);
        attached.stdin.as_mut().expect("stdin").write_all(b"word\n").await.expect("written");
        let mut seen = String::new();
        within(attached.stdout.as_mut().expect("stdout").read_to_string(&mut seen)).await.expect("read");
        assert!(seen.contains("got word"), "{seen:?}");
        within(pod.pod.wait("main")).await.expect("ends");
        let logged = crate::pod::messages(&log);
        assert!(logged.contains("/dev/pts/0") && logged.contains("got word"), "{logged:?}");
    }
}

pod_test! {
    async fn closing_stdin_is_its_end_for_the_container() {
        let pod = TestPod::start().await;
        let mut spec = pod.with_program(pod.container("main", ["/program", "wait-for-end"]));
        spec.stdin = true;
        pod.pod.start_container(spec).await.expect("starts");
        pod.pod.close_stdin("main").await.expect("closed");
        assert_eq!(within(pod.pod.wait("main")).await.expect("ends").exit_code, Some(0));
        // Without a stdin it reads from nowhere at once.
        assert_eq!(pod.attempt("other", &["wait-for-end"]).await, "end after 0 bytes\n");
    }
}

pod_test! {
    async fn a_reader_that_does_not_read_holds_nobody_up() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "read go; seq 1 400000"]);
        spec.stdin = true;
        pod.pod.start_container(spec).await.expect("starts");
        let mut attached = pod.pod.attach("main", true, true, true).await.expect("attached");
        attached.stdin.as_mut().expect("stdin").write_all(b"go\n").await.expect("written");
        let record = tokio::time::timeout(Duration::from_secs(60), pod.pod.wait("main")).await.expect("in time").expect("ends");
        assert_eq!(record.exit_code, Some(0));
    }
}
