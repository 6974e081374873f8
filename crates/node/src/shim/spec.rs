//! What the kubelet says to a shim and what the shim says back, as plain data.
//!
//! Everything here is already decided: no Kubernetes meaning is left in it (no probes, no restart policy, no image names).
//! These types travel over the shim's socket and partly lie on disk, so fields are only ever added, with a default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One pod: its folder, its name inside, and the namespaces it is to live in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The pod's own folder on the host; the shim keeps its socket, lock and records there. Created with mode 0700.
    pub dir: PathBuf,
    /// Host name inside the pod.
    pub hostname: String,
    /// How the pod is kept apart from the host.
    #[serde(default)]
    pub isolation: Isolation,
    /// The node's namespaces; without them the pod gets a network namespace with nothing but `lo`.
    #[serde(default)]
    pub node: Option<NodeNamespaces>,
    /// One PID namespace for all containers (`shareProcessNamespace`) instead of one per container.
    #[serde(default)]
    pub share_process_namespace: bool,
    /// Size of `/dev/shm`, shared by the pod's containers.
    #[serde(default = "default_shm_size_bytes")]
    pub shm_size_bytes: u64,
    /// Volumes of `medium: Memory`: an existing empty host folder -> the size of the tmpfs the pod sees there.
    /// A container mounts the folder like any other source.
    #[serde(default)]
    pub memory_volumes: BTreeMap<PathBuf, Option<u64>>,
    /// Content of `/etc/hosts`.
    #[serde(default)]
    pub hosts_file: String,
    /// Content of `/etc/resolv.conf`.
    #[serde(default)]
    pub resolv_conf: String,
    /// `net.*` settings of the pod's network namespace, by dotted name.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// The host ids a pod's ids 0.. are mapped to when the node runs as root. Ignored for an ordinary user.
    #[serde(default)]
    pub host_ids: HostIds,
}

/// How a pod is kept apart from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Isolation {
    /// Namespaces, filters and limits.
    #[default]
    Sandbox,
    /// A plain process of the owner: only where the owner said `--allow-host-processes`.
    HostProcess,
}

/// Descriptors of the node's namespaces, as paths that the shim opens before it enters anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeNamespaces {
    /// The node's user namespace, such as `/proc/<holder>/ns/user`.
    pub user: PathBuf,
    /// The node's network namespace, such as `/proc/<holder>/ns/net`.
    pub net: PathBuf,
}

/// A range of host ids. Never one that contains the host's id 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostIds {
    /// The host id of the pod's id 0.
    pub first: u32,
    /// How many ids follow.
    pub count: u32,
}

impl Default for HostIds {
    fn default() -> Self {
        Self {
            first: 100_000,
            count: 65_536,
        }
    }
}

fn default_shm_size_bytes() -> u64 {
    64 << 20
}

/// One container, ready to be executed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSpec {
    /// The container's name, unique in the pod (init containers included).
    pub name: String,
    /// 0 for the first start, then one more per restart.
    #[serde(default)]
    pub attempt: u32,
    /// Where its root file system comes from.
    pub root: Root,
    /// `readOnlyRootFilesystem`.
    #[serde(default)]
    pub read_only_root: bool,
    /// Volumes and extra trees, bound in this order (parents before children).
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Host device nodes bound at the same path, such as `/dev/nvidia0`.
    #[serde(default)]
    pub devices: Vec<PathBuf>,
    /// Program and arguments. A program without `/` is looked up in the container's own `PATH`.
    pub command: Vec<String>,
    /// The whole environment. `PATH`, `HOME` and `HOSTNAME` are added when absent, `TERM` with a terminal; nothing else.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working folder, created when absent; `/` by default.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Who the process is inside.
    #[serde(default)]
    pub user: User,
    /// Capabilities taken away from or given back to the default set, by name with or without `CAP_`.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What the container may use.
    #[serde(default)]
    pub limits: Limits,
    /// Keep a stdin open that `attach` can write to; otherwise it is `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    /// Close stdin when the first attached client goes (`stdinOnce`).
    #[serde(default)]
    pub stdin_once: bool,
    /// Give the process a terminal as stdin, stdout and stderr.
    #[serde(default)]
    pub tty: bool,
    /// Run a small init as pid 1 that reaps zombies and passes signals on. `false`: the command itself is pid 1
    /// (programs such as s6-overlay insist).
    #[serde(default = "yes")]
    pub init: bool,
    /// Where its output goes.
    pub log: LogFile,
    /// Raised (never lowered) `oom_score_adj`.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
}

fn yes() -> bool {
    true
}

/// Where a root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Root {
    /// The host's programs and libraries read-only, a minimal `/etc`, everything else empty and private.
    HostReadOnly {
        /// More host paths to show read-only, at the same place.
        #[serde(default)]
        allow: Vec<PathBuf>,
    },
    /// An unpacked image: read-only below, a layer of the container's own on top.
    Folder {
        /// The unpacked root.
        path: PathBuf,
    },
}

/// A host file or folder at a path of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Host path; must exist.
    pub source: PathBuf,
    /// A path below `source`, resolved without ever leaving it; created as a folder when absent.
    #[serde(default)]
    pub sub_path: Option<PathBuf>,
    /// Absolute path in the container; it and its parents are created when absent.
    pub target: PathBuf,
    /// Read-only, with everything mounted below.
    #[serde(default)]
    pub read_only: bool,
    /// Whether host id 0 on disk is the pod's id 0 (root's node, file systems with id-mapped mounts); `false` shows the
    /// host's own ids, for trees that must stay the host's.
    #[serde(default = "yes")]
    pub owned_by_pod: bool,
}

impl Mount {
    /// A writable volume.
    pub fn writable(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            sub_path: None,
            target: target.into(),
            read_only: false,
            owned_by_pod: true,
        }
    }

    /// A read-only tree.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            read_only: true,
            ..Self::writable(source, target)
        }
    }
}

/// Who a process is inside its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum User {
    /// By number. An ordinary owner's node has one id per container, so only the numbers given here exist in it.
    Ids {
        /// `runAsUser`.
        uid: u32,
        /// `runAsGroup`; the group of the user in the image's passwd file, else 0, when absent.
        #[serde(default)]
        gid: Option<u32>,
        /// `supplementalGroups` and `fsGroup` (root's node only).
        #[serde(default)]
        groups: Vec<u32>,
    },
    /// As an image's `USER` line says it: `name`, `name:group`, `uid:gid`, looked up in the image's own files.
    Named(String),
}

impl Default for User {
    fn default() -> Self {
        Self::Ids {
            uid: 0,
            gid: None,
            groups: Vec::new(),
        }
    }
}

/// Changes to the default capability set. The set never contains what could undo the sandbox, whatever is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Given back (`ALL` gives everything that is safe).
    #[serde(default)]
    pub add: Vec<String>,
    /// Taken away (`ALL` takes everything).
    #[serde(default)]
    pub drop: Vec<String>,
}

/// What a container may use. `None` is no limit of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// `limits.memory`.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// `limits.cpu`, in thousandths of a core.
    #[serde(default)]
    pub cpu_millis: Option<u64>,
    /// `requests.cpu`, in thousandths of a core: the share under contention.
    #[serde(default)]
    pub cpu_request_millis: Option<u64>,
    /// Processes and threads at once.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Open files per process.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Address space per process; off unless asked, since runtimes reserve far more than they use.
    #[serde(default)]
    pub address_space_bytes: Option<u64>,
}

/// A CRI-format log with rotation: `path` is current, `path.1` the newest old one, up to `path.<max_files - 1>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFile {
    /// Usually `<pod dir>/<container>/<attempt>.log`; parents are created.
    pub path: PathBuf,
    /// Rotate when the current file would grow past this.
    #[serde(default = "default_log_bytes")]
    pub max_bytes: u64,
    /// Files kept, the current one included.
    #[serde(default = "default_log_files")]
    pub max_files: u32,
}

fn default_log_bytes() -> u64 {
    10 << 20
}

fn default_log_files() -> u32 {
    5
}

impl LogFile {
    /// A log with the usual rotation.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: default_log_bytes(),
            max_files: default_log_files(),
        }
    }
}

/// A second process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecSpec {
    /// Which container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's own environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working folder; the container's own by default.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Connect a stdin.
    #[serde(default)]
    pub stdin: bool,
    /// Connect stdout.
    #[serde(default = "yes")]
    pub stdout: bool,
    /// Connect stderr (never with a terminal: there it is one stream).
    #[serde(default = "yes")]
    pub stderr: bool,
    /// Give it a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Kill it when the caller lets go (probes with a timeout).
    #[serde(default)]
    pub kill_on_disconnect: bool,
}

impl ExecSpec {
    /// `command` in `container` with stdout and stderr, no stdin, killed when the caller lets go: what a probe needs.
    pub fn new<S: Into<String>>(
        container: impl Into<String>,
        command: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            container: container.into(),
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: None,
            stdin: false,
            stdout: true,
            stderr: true,
            tty: false,
            kill_on_disconnect: true,
        }
    }
}

/// Where one attempt of a container stands. On disk as `<pod dir>/containers/<name>/<attempt>.json`, replaced atomically.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// The container.
    pub name: String,
    /// Which start this was.
    pub attempt: u32,
    /// Running or over.
    pub phase: ContainerPhase,
    /// Host pid of the container's first process while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When the command was executed; absent when that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// As Kubernetes shows it: the exit code, or 128 + the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Ended for using more memory than its limit.
    #[serde(default)]
    pub oom_killed: bool,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` or `ContainerStatusUnknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The cause in words, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether an attempt is still going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerPhase {
    /// Being set up.
    Starting,
    /// Its command was executed.
    Running,
    /// Over, for good.
    Exited,
}

/// What a container has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsage {
    /// The container.
    pub name: String,
    /// CPU time since its start, all processes.
    pub cpu_nanos: u64,
    /// Memory in use now (resident, shared pages counted once per process unless a cgroup counts).
    pub memory_bytes: u64,
    /// Processes now.
    pub processes: u64,
}
