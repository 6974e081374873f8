//! The process that is a pod's namespaces: pid 1 of the pod's PID namespace, in its user, network, IPC, UTS and mount
//! namespaces. It reaps what nobody else does, and when the shim goes, it goes, and the kernel ends the whole pod with it.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::failure::{Failure, While, check};
use super::ids::{self, Line, PodIds};
use super::mount::{self, NO_DEVICES, NO_SETUID};
use super::{passing, process};
use crate::shim::PodSpec;

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// A pod's living namespaces.
#[derive(Debug)]
pub struct Pause {
    /// Host pid of the process that holds them.
    pub pid: i32,
    /// The ids of the pod's user namespace.
    pub ids: PodIds,
    /// The pod's namespaces, in the order they are entered.
    namespaces: Vec<(OwnedFd, i32)>,
    /// While this is open the pod lives.
    _lifeline: OwnedFd,
    /// Kept so that the node's network outlives its holder; a new holder joins it again.
    node: Option<(OwnedFd, OwnedFd)>,
}

impl Pause {
    /// The pod's user namespace.
    pub fn user_namespace(&self) -> &OwnedFd {
        &self.namespaces[0].0
    }

    /// The descriptor of the node's network namespace that is kept for it.
    pub fn node_net(&self) -> Option<BorrowedFd<'_>> {
        self.node.as_ref().map(|(_, net)| net.as_fd())
    }

    /// Enters all of the pod's namespaces (the PID namespace counts for children only).
    pub fn enter(&self) -> Result<(), Failure> {
        self.enter_only(NAMESPACES)
    }

    /// Enters those of the pod's namespaces that `kinds` names.
    pub fn enter_only(&self, kinds: i32) -> Result<(), Failure> {
        for (namespace, kind) in self.namespaces.iter().filter(|(_, kind)| kind & kinds != 0) {
            process::enter(namespace.as_fd(), *kind).during(|| "entering the pod's namespaces")?;
        }
        Ok(())
    }

    /// Raw descriptors that a process entering these namespaces must keep open.
    pub fn raw_fds(&self) -> Vec<i32> {
        self.namespaces
            .iter()
            .map(|(fd, _)| fd.as_raw_fd())
            .collect()
    }
}

/// Where the pod's memory file systems are mounted, in the pod's own mount namespace only. Any folder that everybody may
/// enter will do: the pod's root may not enter the pod's folder on the host.
const MEMORY: &str = "/dev/shm";

/// A folder that every process of the pod can mount on.
pub fn memory_site() -> &'static Path {
    Path::new(MEMORY)
}

/// Where a pod's `/dev/shm` is found in its mount namespace.
pub fn shared_memory() -> PathBuf {
    Path::new(MEMORY).join("shm")
}

/// Where a memory volume is found in the pod's mount namespace, if `source` is one.
pub fn memory_volume(pod: &PodSpec, source: &Path) -> Option<PathBuf> {
    let index = pod.memory_volumes.keys().position(|path| path == source)?;
    Some(Path::new(MEMORY).join(format!("volume-{index}")))
}

/// The files of `/etc` that say who the pod is and whom it knows, by their paths in its containers, and what they hold.
pub fn etc_files(pod: &PodSpec) -> [(PathBuf, String); 3] {
    [
        ("hosts", pod.hosts_file.clone()),
        ("resolv.conf", pod.resolv_conf.clone()),
        ("hostname", format!("{}\n", pod.hostname)),
    ]
    .map(|(name, content)| (Path::new("/etc").join(name), content))
}

/// Where such a file is found in the pod's mount namespace. All containers of the pod write to the same one.
pub fn etc_file(target: &Path) -> PathBuf {
    let inside = target.strip_prefix("/").unwrap_or(target);
    Path::new(MEMORY).join(inside)
}

/// Makes a pod's namespaces.
pub fn start(pod: &PodSpec) -> Result<Pause, Failure> {
    let node = match &pod.node {
        Some(node) => {
            let open = |path: &Path| {
                fs::File::open(path)
                    .map(OwnedFd::from)
                    .during(|| format!("opening the node's {}", path.display()))
            };
            Some((open(&node.user)?, open(&node.net)?))
        }
        None => None,
    };
    let (lifeline_far, lifeline) = passing::pipe().during(|| "making a pipe")?;
    let (ours, theirs) = passing::pair().during(|| "making sockets")?;
    let parent = process::clone(0, || {
        let made = enter_and_clone(
            pod,
            node.as_ref().map(|(user, _)| user),
            &lifeline_far,
            &theirs,
        );
        if let Err(failure) = made {
            say(&theirs, &Said::Failed(failure.0));
        }
        process::exit(0)
    })
    .during(|| "forking")?;
    drop((theirs, lifeline_far));
    let (mut pid, mut ids) = (None, PodIds::Single);
    let outcome = loop {
        let mut buffer = [0; 4096];
        let received = passing::receive(ours.as_raw_fd(), &mut buffer)
            .during(|| "listening to the pod's first process")?;
        match serde_json::from_slice(&buffer[..received.count]) {
            Ok(Said::Ids(count)) => {
                ids = count.map_or(PodIds::Single, |count| PodIds::Range { count })
            }
            Ok(Said::Ready) => {
                pid = received.sender;
                break Ok(());
            }
            Ok(Said::Failed(message)) => break Err(Failure(message)),
            Ok(Said::Mapped) => {}
            Err(_) => {
                break Err(Failure(
                    "the pod's first process ended without a word".to_owned(),
                ));
            }
        }
    };
    reap_parent(parent);
    outcome?;
    let pid =
        pid.ok_or_else(|| Failure("the pod's first process did not say who it is".to_owned()))?;
    let kinds = [
        ("user", libc::CLONE_NEWUSER),
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("pid", libc::CLONE_NEWPID),
        ("mnt", libc::CLONE_NEWNS),
    ];
    let mut namespaces = Vec::new();
    for (name, kind) in kinds {
        let file = fs::File::open(format!("/proc/{pid}/ns/{name}"))
            .during(|| format!("opening the pod's {name} namespace"))?;
        namespaces.push((OwnedFd::from(file), kind));
    }
    Ok(Pause {
        pid,
        ids,
        namespaces,
        _lifeline: lifeline,
        node,
    })
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Said {
    Ids(Option<u32>),
    Mapped,
    Ready,
    Failed(String),
}

fn say(to: &OwnedFd, said: &Said) {
    let text = serde_json::to_vec(said).expect("plain data");
    // Nobody to tell when the other side is gone.
    let _ = passing::send(to.as_raw_fd(), &text, &[]);
}

fn reap_parent(pid: i32) {
    // SAFETY: waits for our own child; its status does not matter.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// In a child of the shim: enters the node's user namespace, makes the pod's below it, and writes the maps.
fn enter_and_clone(
    pod: &PodSpec,
    node_user: Option<&OwnedFd>,
    lifeline: &OwnedFd,
    shim: &OwnedFd,
) -> Result<(), Failure> {
    // SAFETY: plain system call.
    let is_root = unsafe { libc::geteuid() } == 0;
    if let Some(node_user) = node_user {
        process::enter(node_user.as_fd(), libc::CLONE_NEWUSER)
            .during(|| "entering the node's user namespace")?;
    }
    let line = if is_root {
        let map =
            fs::read_to_string("/proc/self/uid_map").during(|| "reading the node's user map")?;
        let line = ids::translate(pod.host_ids, &ids::parse(&map))?;
        if node_user.is_some() {
            // The host's root does not exist in there, and only who exists may make namespaces.
            process::become_user(0, 0, Some(&[])).during(|| "becoming the node's own root")?;
            process::set_dumpable(true);
        }
        line
    } else {
        // SAFETY: plain system call.
        Line {
            inside: 0,
            outside: unsafe { libc::geteuid() },
            count: 1,
        }
    };
    // SAFETY: plain system call.
    let group_line = if is_root {
        line
    } else {
        Line {
            outside: unsafe { libc::getegid() },
            ..line
        }
    };
    say(shim, &Said::Ids(is_root.then_some(line.count)));
    let (ours, theirs) = passing::pair().during(|| "making sockets")?;
    let pid = process::clone(libc::CLONE_PARENT | NAMESPACES, || {
        // This process's own copy: while it is open, the end of the process outside would go unnoticed.
        // SAFETY: the original is never dropped here; this process ends by `exit`.
        unsafe { libc::close(ours.as_raw_fd()) };
        live(pod, is_root, &theirs, lifeline, shim)
    })
    .during(|| "making the pod's namespaces")?;
    let mapped = ids::write(&pid.to_string(), line, group_line);
    match mapped {
        Ok(()) => say(&ours, &Said::Mapped),
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// The life of the pod's first process.
fn live(
    pod: &PodSpec,
    is_range: bool,
    parent: &OwnedFd,
    lifeline: &OwnedFd,
    shim: &OwnedFd,
) -> Infallible {
    let mut buffer = [0; 64];
    match passing::receive(parent.as_raw_fd(), &mut buffer) {
        Ok(received) if received.count > 0 => {}
        // The parent said why to the shim.
        _ => process::exit(1),
    }
    if let Err(failure) = furnish(pod, is_range) {
        say(shim, &Said::Failed(failure.0));
        process::exit(1);
    }
    let signals = match process::watch_signals(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]) {
        Ok(signals) => signals,
        Err(_) => process::exit(1),
    };
    process::set_name(c"pod");
    process::detach_streams();
    say(shim, &Said::Ready);
    let _ = process::close_all_but(&[lifeline.as_raw_fd(), signals.as_raw_fd()]);
    loop {
        process::wait_readable(&[lifeline.as_raw_fd(), signals.as_raw_fd()]);
        while process::next_signal(signals.as_fd()).is_some() {}
        while process::reap().is_some() {}
        let mut polled = libc::pollfd {
            fd: lifeline.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid structure. The shim writes nothing: any event is its end.
        if unsafe { libc::poll(&mut polled, 1, 0) } > 0 {
            process::exit(0);
        }
    }
}

/// What all containers of the pod share: name, loopback, shared memory.
fn furnish(pod: &PodSpec, is_range: bool) -> Result<(), Failure> {
    process::become_user(0, 0, is_range.then_some(&[])).during(|| "becoming the pod's root")?;
    process::set_dumpable(true);
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
    }
    mount::follow_host().during(|| "setting mount propagation")?;
    mount_memory(Path::new(MEMORY), Some(1 << 20), "0755")?;
    let volumes = pod
        .memory_volumes
        .iter()
        .filter_map(|(path, size)| Some((memory_volume(pod, path)?, *size)));
    for (target, size) in
        std::iter::once((shared_memory(), Some(pod.shm_size_bytes))).chain(volumes)
    {
        fs::create_dir(&target)
            .during(|| format!("making {} in the pod's namespace", target.display()))?;
        mount_memory(&target, size, "1777")?;
    }
    for (target, content) in etc_files(pod) {
        let file = etc_file(&target);
        let step = || format!("writing the pod's {}", target.display());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).during(step)?;
        }
        fs::write(&file, content).during(step)?;
    }
    let name = CString::new(pod.hostname.as_str()).during(|| "reading the host name")?;
    // SAFETY: the name is valid for its length.
    check(unsafe { libc::sethostname(name.as_ptr(), name.as_bytes().len()) }.into())
        .during(|| "setting the host name")?;
    bring_up_loopback().during(|| "bringing up the pod's loopback")?;
    let groups = if is_range { "0 65535" } else { "0 0" };
    for (setting, value) in [
        ("net/ipv4/ip_unprivileged_port_start", "0"),
        ("net/ipv4/ping_group_range", groups),
    ] {
        // Conveniences: a kernel without them is no reason to refuse a pod.
        let _ = fs::write(Path::new("/proc/sys").join(setting), value);
    }
    for (setting, value) in &pod.sysctls {
        if !setting.starts_with("net.") || setting.contains('/') || setting.contains("..") {
            return Err(Failure(format!(
                "sysctl {setting}: only net.* settings belong to a pod"
            )));
        }
        let path = Path::new("/proc/sys").join(setting.replace('.', "/"));
        fs::write(path, value).during(|| format!("setting sysctl {setting}"))?;
    }
    Ok(())
}

fn mount_memory(target: &Path, size: Option<u64>, mode: &str) -> Result<(), Failure> {
    let size = size.map(|size| size.to_string());
    let mut options = vec![("mode", Some(mode))];
    options.extend(size.as_deref().map(|size| ("size", Some(size))));
    let step = || {
        format!(
            "mounting a memory file system at {} in the pod's namespace",
            target.display()
        )
    };
    let tree = mount::new_filesystem("tmpfs", &options, NO_SETUID | NO_DEVICES).during(step)?;
    let place = mount::open_path(target).during(step)?;
    mount::attach(tree.as_fd(), place.as_fd()).during(step)
}

fn bring_up_loopback() -> io::Result<()> {
    // SAFETY: the request is plain data with a short, terminated name; the descriptor is closed at the end.
    unsafe {
        let socket =
            check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())?
                as i32;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request).into());
        libc::close(socket);
        result.map(drop)
    }
}
