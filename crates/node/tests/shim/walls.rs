//! What a pod must not see, and what its root must not be able to do.

use std::os::unix::fs::symlink;

use node::shim::{Mount, User};

use crate::owner::{self, pod_test};
use crate::pod::{TestPod, with_image};

pod_test! {
    async fn a_pod_sees_no_home_folder_and_no_keys() {
        let pod = TestPod::start().await;
        let seen = pod.script("main", "ls -A /home /root /var/lib /run /opt /mnt /srv; ls /").await;
        for forbidden in ["lost+found", "boot", ".ssh", ".bashrc", "work"] {
            assert!(!seen.lines().any(|line| line == forbidden), "{forbidden}: {seen}");
        }
        let homes = pod.script("homes", "ls -A /home /root | grep -v : | tr -d '\\n'").await;
        assert_eq!(homes.trim(), "", "home folders are empty");
        for path in ["/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers", "/var/run/docker.sock", "/root/.ssh", "/proc/1/root/root"] {
            let (record, _) = pod.run(pod.container("look", ["/bin/sh", "-c", &format!("[ -e {path} ]")])).await;
            assert_ne!(record.exit_code, Some(0), "{path} is to be seen");
        }
        let secret = pod.folder("secrets", "key", "private");
        let (record, log) = pod.run(pod.container("cat", ["/bin/cat", &secret.join("key").display().to_string()])).await;
        assert_ne!(record.exit_code, Some(0), "{log}");
    }
}

pod_test! {
    async fn a_pod_has_its_own_cwd_home_tmp_and_host_name() {
        let pod = TestPod::start().await;
        std::fs::write(std::env::temp_dir().join("of-the-host"), "x").expect("write");
        let mut spec = pod.container("main", ["/bin/sh", "-c", "pwd; echo $HOME; touch $HOME/x /tmp/y && ls /tmp; hostname; cat /etc/hosts /etc/resolv.conf"]);
        spec.cwd = Some("/some/where".into());
        let (_, log) = pod.run(spec).await;
        assert_eq!(
            log,
            "/some/where\n/root\ny\npod-host\n127.0.0.1 localhost\n10.1.0.7 pod-host\nnameserver 10.96.0.10\n"
        );
    }
}

pod_test! {
    async fn the_environment_is_only_what_was_given() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/usr/bin/env"]);
        spec.env = vec![("GREETING".to_owned(), "hello world".to_owned())];
        let (_, log) = pod.run(spec).await;
        let mut names: Vec<&str> = log.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["GREETING", "HOME", "HOSTNAME", "PATH"]);
        assert!(log.contains("GREETING=hello world"));
    }
}

pod_test! {
    async fn a_pod_sees_no_processes_but_its_own() {
        let (pod, other) = (TestPod::start().await, TestPod::start().await);
        other.pod.start_container(other.container("other", ["/bin/sleep", "644"])).await.expect("starts");
        pod.pod.start_container(pod.container("sibling", ["/bin/sleep", "655"])).await.expect("starts");
        let seen = pod.script("main", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; ls -d /proc/[0-9]* | wc -l").await;
        assert!(!seen.contains("644") && !seen.contains("655"), "{seen}");
        // The init, the shell, and the pipeline's own.
        let count: usize = seen.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number");
        assert!(count <= 5, "{seen}");
    }
}

pod_test! {
    async fn a_pod_sees_no_other_pods_files() {
        let (pod, other) = (TestPod::start().await, TestPod::start().await);
        other.script("main", "echo secret > /tmp/secret; echo secret > /dev/shm/secret").await;
        let seen = pod.script("main", "ls /tmp /dev/shm").await;
        assert!(!seen.contains("secret"), "{seen}");
        let folder = other.pod.dir().display().to_string();
        let (record, _) = pod.run(pod.container("look", ["/bin/ls", &folder])).await;
        assert_ne!(record.exit_code, Some(0));
    }
}

pod_test! {
    async fn containers_of_a_pod_share_memory_and_network_but_not_files() {
        let pod = TestPod::start().await;
        pod.script("one", "echo shared > /dev/shm/note; echo private > /tmp/note").await;
        assert_eq!(pod.script("two", "cat /dev/shm/note; ls /tmp").await, "shared\n");
        let link = |name: &'static str| pod.script(name, "readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts");
        assert_eq!(link("three").await, link("four").await);
    }
}

pod_test! {
    async fn the_network_is_the_pods_own() {
        let pod = TestPod::start().await;
        let devices = pod.script("main", "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; ls /sys/class/net").await;
        assert_eq!(devices, "lo\nlo\n");
        let own = std::fs::read_link("/proc/self/ns/net").expect("a link").display().to_string();
        assert_ne!(pod.script("ns", "readlink /proc/self/ns/net").await.trim(), own);
    }
}

pod_test! {
    async fn a_pods_root_cannot_make_a_read_only_bind_writable() {
        let pod = TestPod::start().await;
        let data = pod.folder("data", "file", "kept");
        for (name, verb) in [("a", "remount-writable"), ("b", "setattr-writable"), ("c", "unmount"), ("d", "mount-tmpfs")] {
            let script = format!("/program {verb} /data; /program write /data/file; cat /data/file");
            let mut spec = pod.with_program(pod.container(name, ["/bin/sh", "-c", &script]));
            spec.mounts.push(Mount::read_only(&data, "/data"));
            let (_, log) = pod.run(spec).await;
            let lines: Vec<&str> = log.lines().collect();
            assert!(lines[0].contains("not permitted"), "{verb}: {log}");
            assert!(lines[1].contains("Read-only file system"), "{verb}: {log}");
            assert_eq!(lines[2], "kept", "{verb}");
        }
    }
}

pod_test! {
    async fn even_without_the_filter_the_kernel_keeps_the_mounts_locked() {
        // What the filter hides from the test above: the second user namespace alone must hold. `nsenter` from outside puts
        // a process without the filter into the container, as root of its user namespace.
        if !owner::is_root() {
            return;
        }
        let pod = TestPod::start().await;
        let data = pod.folder("data", "file", "kept");
        let mut spec = pod.with_program(pod.container("main", ["/bin/sleep", "600"]));
        spec.mounts.push(Mount::read_only(&data, "/data"));
        let record = pod.pod.start_container(spec).await.expect("starts");
        let pid = record.pid.expect("a pid").to_string();
        let enter = |arguments: &[&str]| {
            let output = std::process::Command::new("nsenter")
                .args(["-t", &pid, "-U", "-m", "-p", "--setuid", "0", "--setgid", "0", "/program"])
                .args(arguments)
                .output()
                .expect("nsenter");
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        };
        for (verb, paths) in [
            ("remount-writable", ["/data", "/usr", "/proc/sys"]),
            ("setattr-writable", ["/data", "/usr", "/sys"]),
            ("unmount", ["/data", "/proc/keys", "/proc/timer_list"]),
        ] {
            for path in paths {
                let said = enter(&[verb, path]);
                assert!(!said.contains("done"), "{verb} {path}: {said}");
                assert!(said.contains("not permitted") || said.contains("Invalid argument"), "{verb} {path}: {said}");
            }
        }
        assert!(enter(&["write", "/usr/written-by-a-pod"]).contains("Read-only file system"));
    }
}

pod_test! {
    async fn the_hosts_programs_cannot_be_changed() {
        let pod = TestPod::start().await;
        let log = pod.attempt("main", &["write", "/usr/bin/written-by-a-pod"]).await;
        assert!(log.contains("Read-only file system"), "{log}");
        assert!(!std::path::Path::new("/usr/bin/written-by-a-pod").exists());
    }
}

pod_test! {
    async fn masks_cannot_be_lifted_and_settings_not_changed() {
        let pod = TestPod::start().await;
        assert_eq!(pod.script("timers", "cat /proc/timer_list /proc/keys | wc -c").await, "0\n");
        assert_eq!(pod.script("firmware", "ls /sys/firmware | wc -l").await, "0\n");
        for (index, path) in ["/proc/timer_list", "/sys/firmware", "/proc/keys"].iter().enumerate() {
            let log = pod.attempt(&format!("lift-{index}"), &["unmount", path]).await;
            assert!(log.contains("not permitted"), "{path}: {log}");
        }
        for (index, path) in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run"].iter().enumerate() {
            let log = pod.attempt(&format!("write-{index}"), &["open-for-writing", path]).await;
            assert!(!log.contains("done"), "{path}: {log}");
        }
    }
}

pod_test! {
    async fn dangerous_system_calls_are_refused() {
        let pod = TestPod::start().await;
        for (index, attempt) in [&["user-namespace"][..], &["clone-user-namespace"], &["keyctl"], &["io-uring"], &["mount-tmpfs", "/tmp"]].iter().enumerate() {
            let log = pod.attempt(&format!("try-{index}"), attempt).await;
            assert!(log.contains("Operation not permitted"), "{attempt:?}: {log}");
        }
        // Threads and processes still can be made, by whatever call the C library uses.
        let perl = "perl -e 'my $p = fork(); if (!$p) { exit 3 } waitpid($p, 0); print $? >> 8'";
        if std::path::Path::new("/usr/bin/perl").exists() {
            let (_, log) = pod.run(pod.container("fork", ["/bin/sh", "-c", perl])).await;
            assert_eq!(log, "3\n");
        }
    }
}

pod_test! {
    async fn rights_are_few_and_none_can_be_gained() {
        let pod = TestPod::start().await;
        let status = pod.script("main", "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t '").await;
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:"))).expect(key);
            u64::from_str_radix(line, 16).expect("a number")
        };
        assert_eq!((value("NoNewPrivs"), value("Seccomp")), (1, 2));
        let (admin, net_admin, module, ptrace) = (1 << 21, 1 << 12, 1 << 16, 1 << 19);
        for set in ["CapEff", "CapBnd"] {
            assert_eq!(value(set) & (admin | net_admin | module | ptrace), 0, "{status}");
        }
        let mut spec = pod.container("user", ["/bin/sh", "-c", "id -u; id -g; grep CapEff /proc/self/status"]);
        spec.user = User::Ids { uid: 1234, gid: Some(567), groups: Vec::new() };
        let (_, log) = pod.run(spec).await;
        assert_eq!(log, "1234\n567\nCapEff:\t0000000000000000\n");
    }
}

pod_test! {
    async fn the_program_that_sets_up_containers_cannot_be_reached_from_inside() {
        let pod = TestPod::start().await;
        let record = pod.pod.start_container(pod.container("main", ["/proc/self/exe"])).await.expect("answered");
        assert_eq!(record.reason.as_deref(), Some("StartError"), "{record:?}");
        // Nor as the interpreter of a script, which the kernel itself opens.
        let scripts = pod.folder("scripts", "script", "#!/proc/self/exe\n");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(scripts.join("script"), executable).expect("chmod");
        let mut spec = pod.container("script", ["/scripts/script"]);
        spec.mounts.push(Mount::writable(&scripts, "/scripts"));
        let record = pod.pod.start_container(spec).await.expect("answered");
        assert_eq!(record.reason.as_deref(), Some("StartError"), "{record:?}");
        // The init is the host's program; its links lead nowhere.
        for (name, command) in [("exe", "cat /proc/1/exe"), ("fd", "ls -l /proc/1/fd/"), ("environ", "cat /proc/1/environ"), ("root", "ls /proc/1/root/")] {
            let (record, log) = pod.run(pod.container(name, ["/bin/sh", "-c", command])).await;
            assert_ne!(record.exit_code, Some(0), "{command}: {log}");
            assert!(log.contains("Permission denied"), "{command}: {log}");
        }
    }
}

pod_test! {
    async fn volumes_are_at_their_true_paths_and_read_only_where_asked() {
        let pod = TestPod::start().await;
        let (data, settings) = (pod.folder("data", "in", "input"), pod.folder("settings", "key", "value"));
        let file = pod.folder("single", "file", "one file").join("file");
        let mut spec = pod.container("main", ["/bin/sh", "-c", "cat /mnt/deep/data/in && echo output > /mnt/deep/data/out && cat /etc/app/key /etc/app.conf; touch /etc/app/x"]);
        spec.mounts = vec![Mount::read_only(&settings, "/etc/app"), Mount::writable(&data, "/mnt/deep/data"), Mount::read_only(file, "/etc/app.conf")];
        let (_, log) = pod.run(spec).await;
        assert!(log.replace('\n', "").contains("inputvalueone file"), "{log}");
        assert!(log.contains("Read-only file system"), "{log}");
        assert_eq!(std::fs::read_to_string(data.join("out")).expect("written"), "output\n");
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(data.join("out")).expect("metadata").uid();
        // SAFETY: plain system call.
        assert_eq!(owner, unsafe { libc::geteuid() }, "what a pod's root writes to a volume is the owner's");
    }
}

pod_test! {
    async fn a_memory_volume_is_shared_by_containers_and_not_on_disk() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let path = data.path().to_owned();
        let pod = TestPod::start_with(|spec| {
            spec.memory_volumes.insert(path.clone(), Some(1 << 20));
        })
        .await;
        let with_cache = |name: &str, script: &str| {
            let mut spec = pod.container(name, ["/bin/sh", "-c", script]);
            spec.mounts.push(Mount::writable(&path, "/cache"));
            spec
        };
        let (record, log) = pod.run(with_cache("one", "echo hot > /cache/x && head -c 2000000 /dev/zero > /cache/big")).await;
        assert_ne!(record.exit_code, Some(0), "{log}");
        let (_, log) = pod.run(with_cache("two", "cat /cache/x; stat -f -c %T /cache")).await;
        assert_eq!(log, "hot\ntmpfs\n");
        assert_eq!(std::fs::read_dir(&path).expect("read").count(), 0);
    }
}

pod_test! {
    async fn a_sub_path_shows_a_part_of_a_volume_and_never_leaves_it() {
        let pod = TestPod::start().await;
        let volume = pod.folder("volume", "top", "top");
        pod.folder("volume/part", "file", "inner\n");
        pod.folder("outside", "secret", "secret");
        symlink("../outside", volume.join("relative")).expect("link");
        symlink(pod.data().join("outside"), volume.join("absolute")).expect("link");
        let with_part = |name: &str, part: &str| {
            let mut spec = pod.container(name, ["/bin/sh", "-c", "cat /part/file; ls /part"]);
            spec.mounts.push(Mount { sub_path: Some(part.into()), ..Mount::writable(&volume, "/part") });
            spec
        };
        let (_, log) = pod.run(with_part("good", "part")).await;
        assert_eq!(log, "inner\nfile\n");
        for (index, part) in ["relative", "absolute", "../outside", "relative/new", "/etc"].iter().enumerate() {
            let error = pod.pod.start_container(with_part(&format!("bad-{index}"), part)).await.expect_err(part).to_string();
            assert!(error.contains("subPath") && error.contains(part), "{error}");
        }
    }
}

pod_test! {
    async fn an_images_links_cannot_place_a_volume_outside_of_it() {
        let pod = TestPod::start().await;
        let image = pod.folder("image", "etc-file", "x");
        let outside = pod.folder("outside", "file", "kept");
        symlink(&outside, image.join("data")).expect("link");
        let volume = pod.folder("volume", "file", "mounted");
        let mut spec = with_image(pod.container("main", ["/bin/true"]), &image);
        spec.mounts.push(Mount::writable(&volume, "/data/inner"));
        // The link leads to a path that the image does not have.
        pod.pod.start_container(spec).await.expect_err("refused");
        assert_eq!(std::fs::read_dir(&outside).expect("read").count(), 1);
    }
}

pod_test! {
    async fn only_harmless_devices_exist_and_granted_ones() {
        let pod = TestPod::start().await;
        let seen = pod.script("main", "ls /dev | tr '\\n' ' '; echo x > /dev/null; head -c 4 /dev/urandom | wc -c; head -c 3 /dev/zero | wc -c").await;
        assert!(seen.ends_with("4\n3\n"), "{seen}");
        let names: Vec<&str> = seen.lines().next().expect("a line").split_whitespace().filter(|name| !name.chars().all(char::is_numeric)).collect();
        let known = ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
        let mut spec = pod.container("granted", ["/bin/sh", "-c", "[ -c /dev/kmsg ] && echo there"]);
        spec.devices.push("/dev/kmsg".into());
        assert_eq!(pod.run(spec).await.1, "there\n");
        let mut spec = pod.container("absent", ["/bin/true"]);
        spec.devices.push("/dev/nvidia-none".into());
        let error = pod.pod.start_container(spec).await.expect_err("refused").to_string();
        assert!(error.contains("/dev/nvidia-none"), "{error}");
    }
}

pod_test! {
    async fn a_pods_root_may_own_its_own_files() {
        let pod = TestPod::start().await;
        let script = "touch /tmp/x && chmod 600 /tmp/x && mkdir -p /opt/a/b && echo y > /opt/a/b/c && cat /opt/a/b/c && mv /opt/a/b/c /srv/c && cat /srv/c";
        assert_eq!(pod.script("main", script).await, "y\ny\n");
        if owner::is_root() {
            // With a range of ids a pod's root can also give files away and become somebody else.
            let script = "touch /tmp/z && chown 1000:1000 /tmp/z && stat -c %u /tmp/z";
            assert_eq!(pod.script("range", script).await, "1000\n");
            assert_eq!(pod.attempt("setuid", &["setuid", "1000"]).await, "setuid: done\n");
        }
    }
}
