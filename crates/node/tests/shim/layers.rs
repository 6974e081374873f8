//! What a container's root is made of: places in memory, and above them a layer of the container's own, which holds what it
//! wrote and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use node::shim::Mount;

use crate::owner::{self, pod_test};
use crate::pod::TestPod;

/// Every path below a folder, but for what the kernel keeps for itself beside a layer.
fn below(folder: &Path) -> BTreeSet<String> {
    fn walk(top: &Path, folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let inside = path.strip_prefix(top).expect("below the top");
            into.insert(inside.display().to_string());
            if path.is_dir() && !path.is_symlink() && !path.ends_with("work") {
                walk(top, &path, into);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, folder, &mut found);
    found
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

pod_test! {
    async fn the_places_of_mounts_are_not_made_on_the_disk() {
        let pod = TestPod::start().await;
        let volume = pod.folder("volume", "file", "of the volume");
        let mut spec = pod.container("main", ["/bin/sh", "-c", "cat /deep/down/volume/file"]);
        spec.mounts.push(Mount::writable(&volume, "/deep/down/volume"));
        spec.cwd = Some("/some/where".into());
        let (_, log) = pod.run(spec).await;
        assert_eq!(log.trim(), "of the volume");
        assert_eq!(below(&pod.pod.dir().join("containers/main/0/upper")), set(&[]));
    }
}

pod_test! {
    async fn a_layer_holds_what_its_container_wrote() {
        let pod = TestPod::start().await;
        pod.script("main", "echo x > /tmp/x; mkdir /data; echo y > /data/y; echo z >> /etc/group").await;
        let written = below(&pod.pod.dir().join("containers/main/0/upper"));
        assert_eq!(written, set(&["tmp", "tmp/x", "data", "data/y", "etc", "etc/group"]));
    }
}

pod_test! {
    async fn nothing_that_a_container_writes_reaches_the_root_of_another() {
        let pod = TestPod::start().await;
        let look = "ls -A / /etc /opt /srv /tmp /var; cat /etc/passwd; stat -c '%a %n' /tmp /root /opt";
        let before = pod.script("before", look).await;
        let change = "rm -r /opt /mnt; echo changed > /etc/passwd; rm /etc/group; chmod 700 /tmp; mkdir /new; touch /srv/new; ls /new /srv";
        pod.pod.start_container(pod.container("living", ["/bin/sh", "-c", &format!("{change}; exec sleep 600")])).await.expect("starts");
        pod.script("ended", change).await;
        assert_eq!(pod.script("after", look).await, before);
        let other = TestPod::start().await;
        assert_eq!(other.script("main", look).await, before);
    }
}

pod_test! {
    async fn a_container_may_change_the_folders_it_was_given() {
        let pod = TestPod::start().await;
        let script = "rmdir /srv && mkdir /srv && mkdir /opt/a && mv /opt/a /srv/b && rmdir /mnt && touch /mnt && \
                      chmod 711 /var/log && stat -c %a /var/log && stat -c '%a %F' /srv/b /tmp";
        assert_eq!(pod.script("main", script).await, "711\n755 directory\n1777 directory\n");
    }
}

pod_test! {
    async fn the_files_that_name_the_pod_are_the_same_for_all_its_containers_and_not_on_disk() {
        let pod = TestPod::start().await;
        let names = "cat /etc/hosts /etc/resolv.conf /etc/hostname";
        let before = pod.script("one", names).await;
        assert_eq!(before, "127.0.0.1 localhost\n10.1.0.7 pod-host\nnameserver 10.96.0.10\npod-host\n");
        pod.script("two", "echo 10.1.0.8 friend >> /etc/hosts").await;
        assert!(pod.script("three", names).await.contains("friend"));
        let found = below(pod.pod.dir());
        assert!(!found.iter().any(|path| path.ends_with("hosts") || path.ends_with("resolv.conf")), "{found:?}");
        let other = TestPod::start().await;
        assert_eq!(other.script("one", names).await, before);
    }
}

pod_test! {
    async fn a_volume_takes_the_place_of_a_file_that_names_the_pod() {
        let pod = TestPod::start().await;
        let volume = pod.folder("volume", "hosts", "of the volume\n");
        let mut spec = pod.container("main", ["/bin/cat", "/etc/hosts"]);
        spec.mounts.push(Mount::read_only(volume.join("hosts"), "/etc/hosts"));
        assert_eq!(pod.run(spec).await.1, "of the volume\n");
    }
}

pod_test! {
    async fn a_root_that_is_read_only_is_so_everywhere() {
        let pod = TestPod::start().await;
        let mut spec = pod.container("main", ["/bin/sh", "-c", "for at in / /tmp /etc /srv; do touch $at/x; done 2>&1 | grep -c 'Read-only'"]);
        spec.read_only_root = true;
        assert_eq!(pod.run(spec).await.1, "4\n");
    }
}

/// overlayfs can neither carry a further layer nor map ids, so that both ways out are taken there.
#[test]
fn pods_whose_folder_cannot_carry_a_layer_have_the_same_roots_and_walls() {
    if !owner::is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = "mount -t tmpfs none \"$0\" && mkdir -m 777 \"$0/lower\" \"$0/upper\" \"$0/work\" \"$0/top\" && \
                 mount -t overlay none -o \"lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work\" \"$0/top\" && \
                 TMPDIR=\"$0/top\" exec \"$@\"";
    let tests = [
        "layers::a_container_may_change_the_folders_it_was_given",
        "layers::a_root_that_is_read_only_is_so_everywhere",
        "layers::nothing_that_a_container_writes_reaches_the_root_of_another",
        "walls::a_pods_root_cannot_make_a_read_only_bind_writable",
        "walls::a_pods_root_may_own_its_own_files",
    ];
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("a running program has a file"))
        .args(["--exact", "--test-threads=1"])
        .args(tests)
        .output()
        .expect("unshare, of util-linux");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains(&format!("{} passed", tests.len())),
        "on overlayfs:\n{said}"
    );
}
