//! What a container may use, and what happens when it wants more.

use std::time::Duration;

use crate::owner::pod_test;
use crate::pod::{TestPod, wait_until, within};

pod_test! {
    async fn a_container_over_its_memory_limit_is_killed_and_it_says_why() {
        let pod = TestPod::start().await;
        let mut spec = pod.with_program(pod.container("main", ["/program", "allocate", "400"]));
        spec.limits.memory_bytes = Some(64 << 20);
        let (record, log) = pod.run(spec).await;
        assert!(record.oom_killed, "{record:?} {log}");
        assert_eq!((record.exit_code, record.signal), (Some(137), Some(9)), "{record:?}");
        assert_eq!(record.reason.as_deref(), Some("OOMKilled"));
        assert!(!log.contains("allocated"), "{log}");
    }
}

pod_test! {
    async fn memory_within_the_limit_harms_nobody() {
        let pod = TestPod::start().await;
        let mut spec = pod.with_program(pod.container("main", ["/program", "allocate", "20"]));
        spec.limits.memory_bytes = Some(128 << 20);
        let log = spec.log.path.clone();
        pod.pod.start_container(spec).await.expect("starts");
        wait_until(|| crate::pod::messages(&log).contains("allocated 20 MiB"));
        let usage = pod.pod.usage().await.expect("usage");
        assert!(usage[0].memory_bytes > 20 << 20, "{usage:?}");
        within(pod.pod.stop(Duration::ZERO)).await.expect("stops");
        let record = pod.pod.wait("main").await.expect("ended");
        assert_eq!((record.oom_killed, record.reason.as_deref()), (false, Some("Error")), "{record:?}");
    }
}

pod_test! {
    async fn a_fork_bomb_stops_at_the_pods_limit() {
        let pod = TestPod::start().await;
        let mut spec = pod.with_program(pod.container("main", ["/program", "fork-bomb"]));
        spec.limits.processes = Some(40);
        let (_, log) = pod.run(spec).await;
        let children: u32 = log.trim().strip_prefix("children: ").and_then(|count| count.parse().ok()).expect("a number");
        assert!((30..40).contains(&children), "{log}");
        // The limit is each container's own.
        assert_eq!(pod.script("other", "echo fine").await, "fine\n");
    }
}

pod_test! {
    async fn open_files_are_limited_and_core_dumps_off() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "ulimit -n; ulimit -c"]);
        spec.limits.open_files = Some(123);
        assert_eq!(pod.run(spec).await.1, "123\n0\n");
    }
}

pod_test! {
    async fn shared_memory_has_a_size() {
        let pod = TestPod::start_with(|spec| spec.shm_size_bytes = 1 << 20).await;
        let (record, log) = pod.run(pod.container("main", ["/bin/sh", "-c", "head -c 2000000 /dev/zero > /dev/shm/x"])).await;
        assert_ne!(record.exit_code, Some(0));
        assert!(log.contains("No space left"), "{log}");
    }
}

pod_test! {
    async fn usage_counts_cpu_memory_and_processes_of_the_whole_container() {
        let pod = TestPod::start().await;
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 600 & echo ready; wait";
        let spec = pod.container("main", ["/bin/sh", "-c", script]);
        let log = spec.log.path.clone();
        pod.pod.start_container(spec).await.expect("starts");
        wait_until(|| crate::pod::messages(&log).contains("ready"));
        let usage = pod.pod.usage().await.expect("usage");
        assert_eq!(usage.len(), 1);
        // The init, the shell and its child.
        assert_eq!((usage[0].name.as_str(), usage[0].processes), ("main", 3), "{usage:?}");
        assert!(usage[0].cpu_nanos > 10_000_000 && usage[0].memory_bytes > 1 << 20, "{usage:?}");
    }
}

pod_test! {
    async fn a_probe_tells_what_pods_can_have_here() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let ability = within(node::sandbox::probe(&crate::owner::program(), data.path())).await.expect("probed");
        assert_eq!(ability.refusal, None);
        assert_eq!(ability.overlay_refusal, None);
        assert!(ability.to_string().contains("memory limits by"), "{ability}");
        // Nothing of the trial is left.
        assert_eq!(std::fs::read_dir(data.path()).expect("read").count(), 0);
    }
}
