//! Builders of valid pods and containers, and a pod that cleans up after itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use node::shim::{self, ContainerRecord, ContainerSpec, ExecSpec, Mount, Pod, PodSpec, Root};
use tokio::io::AsyncReadExt;

use crate::owner;

/// A pod under test, in a temporary data folder.
pub struct TestPod {
    pub pod: Pod,
    data: tempfile::TempDir,
}

impl TestPod {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut PodSpec)) -> Self {
        let data = tempfile::Builder::new()
            .prefix("node-shim-")
            .tempdir()
            .expect("a temporary folder");
        let mut spec = pod_spec(&data.path().join("pods/ns_pod_uid"));
        change(&mut spec);
        let pod = shim::start(&owner::program(), &spec)
            .await
            .unwrap_or_else(|error| panic!("the pod starts: {error}"));
        Self { pod, data }
    }

    /// The data folder, beside the pods.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// A container of this pod.
    pub fn container<S: Into<String>>(
        &self,
        name: &str,
        command: impl IntoIterator<Item = S>,
    ) -> ContainerSpec {
        container(self.pod.dir(), name, command)
    }

    /// Runs a container to its end: how it ended, and what its log says.
    pub async fn run(&self, spec: ContainerSpec) -> (ContainerRecord, String) {
        let (name, log) = (spec.name.clone(), spec.log.path.clone());
        self.pod
            .start_container(spec)
            .await
            .unwrap_or_else(|error| panic!("{name} starts: {error}"));
        let record = within(self.pod.wait(&name)).await.expect("it ends");
        (record, messages(&log))
    }

    /// Runs a shell script in a container of its own to its end; what it printed.
    pub async fn script(&self, name: &str, script: &str) -> String {
        let (record, log) = self
            .run(self.container(name, ["/bin/sh", "-c", script]))
            .await;
        assert_eq!(record.exit_code, Some(0), "{script}: {record:?}\n{log}");
        log
    }

    /// Runs the test program in a container of its own; what it printed.
    pub async fn attempt(&self, name: &str, arguments: &[&str]) -> String {
        let spec =
            self.with_program(self.container(name, ["/program"].iter().chain(arguments).copied()));
        self.run(spec).await.1
    }

    /// Puts the test program at `/program`.
    pub fn with_program(&self, mut spec: ContainerSpec) -> ContainerSpec {
        spec.mounts.push(Mount {
            owned_by_pod: false,
            ..Mount::read_only(owner::program(), "/program")
        });
        spec
    }

    /// Runs a second process without input: exit code and output.
    pub async fn exec<S: Into<String>>(
        &self,
        container: &str,
        command: impl IntoIterator<Item = S>,
    ) -> (i32, String) {
        let mut exec = self
            .pod
            .exec(ExecSpec::new(container, command))
            .await
            .expect("exec");
        let mut out = String::new();
        exec.stdout
            .take()
            .expect("stdout")
            .read_to_string(&mut out)
            .await
            .expect("read");
        exec.stderr
            .take()
            .expect("stderr")
            .read_to_string(&mut out)
            .await
            .expect("read");
        (within(exec.exit.wait()).await.expect("it ends"), out)
    }

    /// A folder in the data folder with one file.
    pub fn folder(&self, name: &str, file: &str, content: &str) -> PathBuf {
        let path = self.data().join(name);
        std::fs::create_dir_all(&path).expect("create");
        std::fs::write(path.join(file), content).expect("write");
        path
    }
}

impl Drop for TestPod {
    fn drop(&mut self) {
        // The pod must not outlive a failed test; the shim ends its pod when it is told to end.
        let pid = self.pod.shim_pid();
        // SAFETY: plain system call.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        wait_until(|| !Path::new(&format!("/proc/{pid}")).exists());
        let _ = shim::remove(self.pod.dir());
    }
}

pub fn pod_spec(dir: &Path) -> PodSpec {
    serde_json::from_value(serde_json::json!({
        "uid": uuid::Uuid::new_v4(),
        "namespace": "ns",
        "name": "pod",
        "dir": dir,
        "hostname": "pod-host",
        "hostsFile": "127.0.0.1 localhost\n10.1.0.7 pod-host\n",
        "resolvConf": "nameserver 10.96.0.10\n",
    }))
    .expect("a valid pod")
}

pub fn container<S: Into<String>>(
    pod_dir: &Path,
    name: &str,
    command: impl IntoIterator<Item = S>,
) -> ContainerSpec {
    let mut spec: ContainerSpec = serde_json::from_value(serde_json::json!({
        "name": name,
        "root": {"hostReadOnly": {}},
        "command": [],
        "log": {"path": pod_dir.join(name).join("0.log")},
    }))
    .expect("a valid container");
    spec.command = command.into_iter().map(Into::into).collect();
    spec
}

/// A container whose root is a folder.
pub fn with_image(mut spec: ContainerSpec, folder: &Path) -> ContainerSpec {
    spec.root = Root::Folder {
        path: folder.to_owned(),
    };
    spec
}

/// The messages of a CRI log, one per line.
pub fn messages(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default())
        .map(|message| format!("{message}\n"))
        .collect()
}

/// What must happen soon, for a machine that is shared.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("in time")
}

/// Waits for a condition.
pub fn wait_until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
