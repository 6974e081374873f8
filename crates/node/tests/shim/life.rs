//! How containers start and end, what is recorded, and who may be away meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use node::shim::{self, Adopted, ContainerPhase, Isolation, User};

use crate::owner::{self, pod_test};
use crate::pod::{TestPod, wait_until, with_image, within};

pod_test! {
    async fn an_exit_code_is_recorded() {
        let pod = TestPod::start().await;
        let (record, log) = pod.run(pod.container("main", ["/bin/sh", "-c", "echo hello; exit 3"])).await;
        assert_eq!((record.exit_code, record.signal), (Some(3), None), "{record:?}");
        assert_eq!(record.reason.as_deref(), Some("Error"));
        assert!(record.started_at <= record.finished_at, "{record:?}");
        assert_eq!(log, "hello\n");
        assert_eq!(shim::records(pod.pod.dir()).expect("on disk"), [record]);
    }
}

pod_test! {
    async fn a_signal_is_recorded() {
        let pod = TestPod::start().await;
        for (name, script, signal) in [("term", "kill -TERM $$; sleep 60", 15), ("segv", "kill -SEGV $$; sleep 60", 11)] {
            let (record, _) = pod.run(pod.container(name, ["/bin/sh", "-c", script])).await;
            assert_eq!((record.exit_code, record.signal), (Some(128 + signal), Some(signal)), "{record:?}");
        }
    }
}

pod_test! {
    async fn a_command_that_is_not_there_is_a_start_error_with_its_name() {
        let pod = TestPod::start().await;
        for (name, command) in [("a", "no-such-program"), ("b", "/no/such/program"), ("c", "/etc/passwd")] {
            let record = pod.pod.start_container(pod.container(name, [command])).await.expect("answered");
            assert_eq!((record.phase, record.exit_code), (ContainerPhase::Exited, Some(128)), "{record:?}");
            assert_eq!(record.reason.as_deref(), Some("StartError"));
            assert!(record.message.as_deref().is_some_and(|message| message.contains(command)), "{record:?}");
            assert_eq!(record.started_at, None);
        }
    }
}

pod_test! {
    async fn a_missing_volume_fails_the_start_in_words_and_leaves_the_pod_usable() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/true"]);
        spec.mounts.push(shim::Mount::writable(pod.data().join("nowhere"), "/data"));
        let error = pod.pod.start_container(spec).await.expect_err("refused").to_string();
        assert!(error.contains("/data") && error.contains("No such file"), "{error}");
        let (record, _) = pod.run(pod.container("main", ["/bin/true"])).await;
        assert_eq!(record.exit_code, Some(0));
    }
}

pod_test! {
    async fn init_containers_run_one_after_another_and_app_containers_together() {
        let pod = TestPod::start().await;
        let shared = pod.folder("shared", "log", "");
        let step = |name: &str, script: &str| {
            let mut spec = pod.container(name, ["/bin/sh", "-c", script]);
            spec.mounts.push(shim::Mount::writable(&shared, "/shared"));
            spec
        };
        let (first, _) = pod.run(step("init-1", "echo 1 >> /shared/log")).await;
        let (second, _) = pod.run(step("init-2", "echo 2 >> /shared/log")).await;
        assert!(first.finished_at <= second.started_at);
        // Each waits for the other: they can only end when both run.
        let meet = |own: &str, other: &str| format!("touch /shared/{own}; until [ -e /shared/{other} ]; do :; done");
        pod.pod.start_container(step("a", &meet("a", "b"))).await.expect("starts");
        pod.pod.start_container(step("b", &meet("b", "a"))).await.expect("starts");
        for name in ["a", "b"] {
            assert_eq!(within(pod.pod.wait(name)).await.expect("ends").exit_code, Some(0));
        }
        assert_eq!(std::fs::read_to_string(shared.join("log")).expect("read"), "1\n2\n");
    }
}

pod_test! {
    async fn a_restart_is_a_new_attempt_with_a_fresh_root() {
        let pod = TestPod::start().await;
        for attempt in 0..2 {
            let mut spec = pod.container("main", ["/bin/sh", "-c", "[ -e /tmp/mark ] && exit 9; touch /tmp/mark; exit 1"]);
            spec.attempt = attempt;
            let (record, _) = pod.run(spec).await;
            assert_eq!((record.attempt, record.exit_code), (attempt, Some(1)));
        }
        let attempts: Vec<u32> = shim::records(pod.pod.dir()).expect("on disk").iter().map(|record| record.attempt).collect();
        assert_eq!(attempts, [0, 1]);
    }
}

pod_test! {
    async fn a_container_that_listens_to_sigterm_ends_in_its_own_way() {
        let pod = TestPod::start().await;
        let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let spec = pod.container("main", ["/bin/sh", "-c", script]);
        let log = spec.log.path.clone();
        pod.pod.start_container(spec).await.expect("starts");
        wait_until(|| crate::pod::messages(&log).contains("ready"));
        within(pod.pod.stop_container("main", Duration::from_secs(30))).await.expect("stops");
        let record = pod.pod.wait("main").await.expect("ended");
        assert_eq!((record.exit_code, record.signal), (Some(7), None), "{record:?}");
        assert_eq!(crate::pod::messages(&log), "ready\nbye\n");
    }
}

pod_test! {
    async fn a_container_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
        let pod = TestPod::start().await;
        let spec = pod.container("main", ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
        let log = spec.log.path.clone();
        pod.pod.start_container(spec).await.expect("starts");
        wait_until(|| crate::pod::messages(&log).contains("ready"));
        let asked = Instant::now();
        within(pod.pod.stop(Duration::from_millis(300))).await.expect("stops");
        assert!(asked.elapsed() >= Duration::from_millis(300));
        let record = pod.pod.wait("main").await.expect("ended");
        assert_eq!((record.exit_code, record.signal, record.oom_killed), (Some(137), Some(9), false), "{record:?}");
    }
}

pod_test! {
    async fn a_plain_command_without_a_handler_ends_at_sigterm() {
        let pod = TestPod::start().await;
        pod.pod.start_container(pod.container("main", ["/bin/sleep", "600"])).await.expect("starts");
        within(pod.pod.stop(Duration::from_secs(60))).await.expect("stops");
        assert_eq!(pod.pod.wait("main").await.expect("ended").exit_code, Some(143));
    }
}

pod_test! {
    async fn a_command_may_be_pid_1_itself() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "echo pid $$; exit 4"]);
        spec.init = false;
        let (record, log) = pod.run(spec).await;
        assert_eq!((record.exit_code, log.as_str()), (Some(4), "pid 1\n"));
        assert!(record.started_at.is_some());
        let mut spec = pod.container("absent", ["/no/such"]);
        spec.init = false;
        let record = pod.pod.start_container(spec).await.expect("answered");
        assert_eq!(record.reason.as_deref(), Some("StartError"), "{record:?}");
    }
}

pod_test! {
    async fn orphans_are_reaped() {
        let pod = TestPod::start().await;
        assert_eq!(pod.attempt("main", &["zombies", "20"]).await, "zombies: 0\n");
    }
}

pod_test! {
    async fn a_pod_outlives_its_server_and_is_found_again() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "until [ -e /tmp/go ]; do sleep 0.02; done; exit 5"]);
        spec.attempt = 2;
        pod.pod.start_container(spec).await.expect("starts");
        pod.pod.start_container(pod.container("short", ["/bin/sh", "-c", "exit 6"])).await.expect("starts");
        within(pod.pod.wait("short")).await.expect("ends");
        // All that a new server has is the folder.
        let Adopted::Alive(found) = shim::adopt(pod.pod.dir()).expect("looked") else { panic!("the shim lives") };
        assert_eq!(found.shim_pid(), pod.pod.shim_pid());
        let (records, _) = found.subscribe().await.expect("subscribes");
        let states: Vec<_> = records.iter().map(|record| (record.name.as_str(), record.attempt, record.phase)).collect();
        assert_eq!(states, [("main", 2, ContainerPhase::Running), ("short", 0, ContainerPhase::Exited)]);
        // `touch` may be killed with its container, which ends as soon as it sees the file.
        pod.exec("main", ["/bin/touch", "/tmp/go"]).await;
        assert_eq!(within(found.wait("main")).await.expect("ends").exit_code, Some(5));
        within(found.shutdown()).await.expect("ends");
        let Adopted::Dead(records) = shim::adopt(pod.pod.dir()).expect("looked") else { panic!("the shim is gone") };
        let codes: Vec<_> = records.iter().map(|record| (record.name.as_str(), record.exit_code)).collect();
        assert_eq!(codes, [("main", Some(5)), ("short", Some(6))]);
    }
}

pod_test! {
    async fn the_shim_lives_on_when_the_process_that_started_it_is_killed() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let dir = data.path().join("pod");
        std::fs::create_dir(&dir).expect("create");
        std::fs::write(dir.join("pod.json"), serde_json::to_vec(&crate::pod::pod_spec(&dir)).expect("json")).expect("write");
        // A server stands between: started, told to start the shim, and killed.
        let script = format!("{} node-shim {} && exec sleep 600", owner::program().display(), dir.display());
        let mut server = std::process::Command::new("/bin/sh").args(["-c", &script]).stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null()).spawn().expect("a server");
        wait_until(|| matches!(shim::adopt(&dir), Ok(Adopted::Alive(_))));
        server.kill().expect("killed");
        server.wait().expect("reaped");
        let Adopted::Alive(pod) = shim::adopt(&dir).expect("looked") else { panic!("the shim lives") };
        pod.start_container(crate::pod::container(&dir, "main", ["/bin/sh", "-c", "exit 8"])).await.expect("starts");
        assert_eq!(within(pod.wait("main")).await.expect("ends").exit_code, Some(8));
        within(pod.shutdown()).await.expect("ends");
    }
}

pod_test! {
    async fn when_the_shim_is_killed_its_pod_ends_and_that_is_recorded_as_unknown() {
        let pod = TestPod::start().await;
        let record = pod.pod.start_container(pod.container("main", ["/bin/sleep", "600"])).await.expect("starts");
        let first = record.pid.expect("a pid");
        let pause = pod.pod.namespace_pid().expect("a pid");
        let (_, mut changes) = pod.pod.subscribe().await.expect("subscribes");
        // SAFETY: plain system call.
        unsafe { libc::kill(pod.pod.shim_pid(), libc::SIGKILL) };
        within(pod.pod.gone()).await.expect("noticed");
        assert!(within(changes.next()).await.expect("an end").is_none());
        for pid in [first, pause] {
            wait_until(|| !is_alive(pid));
        }
        let Adopted::Dead(records) = shim::adopt(pod.pod.dir()).expect("looked") else { panic!("the shim is gone") };
        assert_eq!(records[0].reason.as_deref(), Some("ContainerStatusUnknown"));
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pod_test! {
    async fn nothing_is_left_on_the_host_after_shutdown() {
        let pod = TestPod::start().await;
        let record = pod.pod.start_container(pod.container("main", ["/bin/sh", "-c", "sleep 600 & sleep 600"])).await.expect("starts");
        let (shim, first) = (pod.pod.shim_pid(), record.pid.expect("a pid"));
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("read").lines().count();
        let before = mounts();
        within(pod.pod.shutdown()).await.expect("ends");
        assert!(!is_alive(shim) && !is_alive(first));
        assert_eq!(mounts(), before);
        shim::remove(pod.pod.dir()).expect("removed");
        assert!(!pod.pod.dir().exists());
    }
}

pod_test! {
    async fn containers_can_share_one_pid_namespace() {
        let pod = TestPod::start_with(|spec| spec.share_process_namespace = true).await;
        pod.pod.start_container(pod.container("other", ["/bin/sleep", "611"])).await.expect("starts");
        let seen = pod.script("main", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
        assert!(seen.contains("sleep 611"), "{seen}");
        // Its end takes its own children along and leaves the other alone.
        pod.pod.start_container(pod.container("parent", ["/bin/sh", "-c", "sleep 622 & sleep 622"])).await.expect("starts");
        within(pod.pod.stop_container("parent", Duration::ZERO)).await.expect("stops");
        let seen = pod.script("again", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
        assert!(seen.contains("sleep 611") && !seen.contains("sleep 622"), "{seen}");
        within(pod.pod.stop(Duration::ZERO)).await.expect("stops");
        assert_eq!(pod.pod.wait("other").await.expect("ended").signal, Some(9));
    }
}

pod_test! {
    async fn without_isolation_a_container_is_a_plain_process_with_a_clean_environment() {
        let pod = TestPod::start_with(|spec| spec.isolation = Isolation::HostProcess).await;
        assert_eq!(pod.pod.namespace_pid(), None);
        let mut spec = pod.container("main", ["/bin/sh", "-c", "echo $GREETING $HOME; env | wc -l; exit 2"]);
        spec.env = vec![("GREETING".to_owned(), "hello".to_owned())];
        let (record, log) = pod.run(spec).await;
        assert_eq!(record.exit_code, Some(2));
        assert!(log.starts_with(&format!("hello {}", pod.pod.dir().display())), "{log}");
        let spec = pod.container("long", ["/bin/sh", "-c", "sleep 633 & sleep 633"]);
        pod.pod.start_container(spec).await.expect("starts");
        let (code, out) = pod.exec("long", ["/bin/echo", "second"]).await;
        assert_eq!((code, out.as_str()), (0, "second\n"));
        within(pod.pod.stop(Duration::from_secs(30))).await.expect("stops");
        assert_eq!(pod.pod.wait("long").await.expect("ended").exit_code, Some(143));
    }
}

pod_test! {
    async fn a_second_shim_for_the_same_pod_is_refused() {
        let pod = TestPod::start().await;
        let error = shim::start(&owner::program(), &crate::pod::pod_spec(pod.pod.dir())).await.expect_err("refused");
        assert!(error.to_string().contains("another shim"), "{error}");
    }
}

pod_test! {
    async fn an_image_folder_is_the_root_and_keeps_its_files() {
        let pod = TestPod::start().await;
        let image = pod.data().join("image");
        for folder in ["bin", "lib", "lib64", "usr", "app", "etc"] {
            std::fs::create_dir_all(image.join(folder)).expect("create");
        }
        std::fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n").expect("write");
        std::fs::write(image.join("app/code"), "as built\n").expect("write");
        let in_image = |name: &str, script: &str| {
            let mut spec = with_image(pod.container(name, ["/bin/sh", "-c", script]), &image);
            for tree in ["/usr", "/lib", "/lib64", "/bin"] {
                spec.mounts.push(shim::Mount { owned_by_pod: false, ..shim::Mount::read_only(Path::new(tree).canonicalize().expect(tree), tree) });
            }
            spec
        };
        let script = "cat /app/code && echo changed > /app/code && cat /app/code && touch /new && rm /etc/passwd && mkdir -p /var/made";
        let (record, log) = pod.run(in_image("main", script)).await;
        assert!(log.starts_with("as built\nchanged\n"), "{record:?} {log}");
        assert_eq!(record.exit_code, Some(0), "{log}");
        assert_eq!(std::fs::read_to_string(image.join("app/code")).expect("read"), "as built\n");
        assert!(image.join("etc/passwd").exists() && !image.join("new").exists());

        let mut spec = in_image("named", "echo $HOME; id -u; touch /app/x");
        spec.user = User::Named("app".to_owned());
        let (_, log) = pod.run(spec).await;
        assert!(log.starts_with("/app\n1000\n"), "{log}");

        let mut spec = in_image("frozen", "touch /app/x; touch /tmp/x");
        spec.read_only_root = true;
        let (record, log) = pod.run(spec).await;
        assert_eq!(record.exit_code, Some(1));
        assert!(log.contains("Read-only file system"), "{log}");
    }
}
